"""The live suite shares one twin of its own: memory holds only one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qhs.twin.names import Twin

NAME = "test"
QHS = Path(sys.executable).with_name("qhs")

type Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def twin() -> Twin:
    """The suite's twin; QHS_TWIN of whoever runs the tests is left alone."""
    return Twin(NAME)


@pytest.fixture(scope="session")
def qhs() -> Run:
    """Run `qhs` on the suite's twin and return what it said; its exit code is the test's to judge."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "QHS_TWIN": NAME}
        return subprocess.run([QHS, *arguments], env=env, capture_output=True, text=True, check=False, **options)

    return run


@pytest.fixture(scope="session")
def first_up(qhs: Run) -> Iterator[dict[str, Any]]:
    """The report of `qhs up` from nothing; the twin is taken away when the suite ends."""
    qhs("down")
    done = qhs("up", "--json")
    assert done.returncode == 0, done.stderr[-4000:]
    yield json.loads(done.stdout)
    gone = qhs("down")
    assert gone.returncode == 0, gone.stderr[-2000:]


@pytest.fixture(scope="session")
def second_up(qhs: Run, first_up: dict[str, Any]) -> dict[str, Any]:
    """The report of the second `qhs up`, with nothing changed in between."""
    done = qhs("up", "--json")
    assert done.returncode == 0, done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout)
    return report
