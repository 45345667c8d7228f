"""What the system refuses becomes a message with a way out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from qhs.errors import explained


def test_a_program_that_failed_is_named_with_what_it_said() -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subprocess.run(["sh", "-euc", "echo no such bridge >&2\nexit 3"], check=True, capture_output=True, text=True)
    error = explained(caught.value)
    assert error.what == "`sh -euc 'echo no such bridge >&2` ended with 3; it said: no such bridge"
    assert error.way_out


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        subprocess.run(["qhs-has-no-such-program"], check=True)
    error = explained(caught.value)
    assert error.what == "the program qhs-has-no-such-program is not installed"
    assert "scripts/host.sh" in error.way_out


def test_a_full_disk_is_told_with_its_place() -> None:
    with pytest.raises(OSError, match="No space") as caught:
        os.write(os.open("/dev/full", os.O_WRONLY), b"x")
    assert "XDG_STATE_HOME" in explained(caught.value).way_out


@pytest.mark.parametrize(
    ("uid", "way_out"), [(1000, "run the same command as root"), (0, "see what forbids it to root")]
)
def test_what_is_denied(uid: int, way_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    error = explained(PermissionError(1, "Operation not permitted", "/run/netns/qhs-twin"))
    assert error.what == "/run/netns/qhs-twin: Operation not permitted"
    assert error.way_out.startswith(way_out)


def test_anything_else_names_its_place(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory") as caught:
        (tmp_path / "none" / "file").read_text()
    assert explained(caught.value).what == f"{tmp_path}/none/file: No such file or directory"
