"""A run that is to skip nothing is red where a test is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.meta.conftest import REPO

TESTS = """\
import pytest

@pytest.mark.skipif(True, reason="no nft here")
def test_marked(): ...

def test_body():
    pytest.skip("no Go here")

@pytest.fixture
def nothing():
    pytest.skip("no twin here")

def test_fixture(nothing): ...

@pytest.mark.optional
@pytest.mark.skipif(True, reason="a luxury")
def test_optional(): ...
"""


@pytest.mark.parametrize(("no_skip", "failed", "skipped"), [("", 0, 4), ("1", 3, 1)])
def test_a_skip_is_a_failure_where_all_is_there(no_skip: str, failed: int, skipped: int, tmp_path: Path) -> None:
    shutil.copy(REPO / "tests" / "conftest.py", tmp_path)
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "testpaths=.", "--rootdir=."]
    environ = os.environ | {"QHS_NO_SKIP": no_skip}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if failed else 0), done.stdout
    assert done.stdout.count("\nFAILED ") + done.stdout.count("\nERROR ") == failed
    assert f"{skipped} skipped" in done.stdout
    assert ("no Go here\nwanted: no skip" in done.stdout) == bool(failed)


def test_the_makefile_asks_for_it_as_root() -> None:
    """And puts the programs there before the first test that needs them."""
    plan = subprocess.run(
        ["make", "-n", "ROOT=yes", "unit", "live"], cwd=REPO, capture_output=True, text=True, check=True
    )
    lines = plan.stdout.splitlines()
    tests = [number for number, line in enumerate(lines) if "pytest" in line]
    assert len(tests) == 2
    assert all("QHS_NO_SKIP=1" in lines[number] for number in tests)
    assert "scripts/host.sh" in lines[: tests[0]]
