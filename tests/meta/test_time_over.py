"""A live suite whose time is over begins no more tests, names them, and takes away what stood for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.meta.conftest import REPO

SUITE = """
import pathlib, pytest
from tests.twin import conftest

@pytest.fixture(scope="session")
def standing():
    yield
    pathlib.Path("gone").touch()

def test_that_takes_its_time(standing): conftest.UNTIL = 0
def test_that_comes_too_late(standing): raise AssertionError
"""


def test_what_no_time_is_left_for_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "tests.twin.conftest", f"--rootdir={tmp_path}", tmp_path]
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.partition("SKIPPED: the time of `make test` was over")[2]
    assert "test_suite.py::test_that_comes_too_late" in said
    assert "test_that_takes_its_time" not in said
    assert "1 passed" in done.stdout
    assert (tmp_path / "gone").exists()
