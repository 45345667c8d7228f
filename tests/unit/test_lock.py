"""One run at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qhs.errors import UserError
from qhs.lock import alone, in_turn


def test_a_second_run_is_refused_with_pid_and_age(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with alone(path, "up"), pytest.raises(UserError) as raised, alone(path, "up"):
        pass
    assert f"up is already running: pid {os.getpid()}, for 0 s" in raised.value.what


HOLDER = """
import os, sys, time
from pathlib import Path
from qhs.lock import alone
with alone(Path(sys.argv[1]), "build"):
    print("held", flush=True)
    time.sleep(0.5)
    os._exit(9)
"""


def holder(path: Path) -> "subprocess.Popen[bytes]":
    """A run that takes the lock and dies half a second later without letting go of it."""
    run = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    assert run.stdout
    assert run.stdout.readline() == b"held\n"
    return run


def test_a_dead_run_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path).wait() == 9
    with alone(path, "up"):
        assert path.read_text().startswith(str(os.getpid()))


def test_waiting_says_for_whom(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    run = holder(path)
    said: list[str] = []
    with in_turn(path, "image", said.append):
        assert [one.rpartition(",")[0] for one in said] == [f"image: waiting for pid {run.pid}"]
    assert run.wait() == 9
