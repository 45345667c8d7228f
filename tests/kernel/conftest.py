"""What several of these tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.certified import new_root


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of an estate."""
    return new_root(tmp_path_factory.mktemp("estate") / "pki")
