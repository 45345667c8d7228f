"""What long tests measure is kept: `make soak` says where, and judges it against the bounds of its row."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.twin.conftest import first_up, from_nothing, hosts, qhs, second_up, twin

__all__ = ["first_up", "from_nothing", "hosts", "qhs", "second_up", "twin"]


@pytest.fixture(scope="session")
def figures() -> Iterator[dict[str, float]]:
    """Fill in what was measured, by the names that the row has bounds for."""
    measured: dict[str, float] = {}
    yield measured
    if path := os.environ.get("QHS_FIGURES"):
        Path(path).write_text(json.dumps(measured))
