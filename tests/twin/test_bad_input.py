"""Where a host cannot carry the twin, `qhs` says so in one message with a way out, and leaves nothing half done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qhs.twin.names import NETNS_FOLDER

pytestmark = pytest.mark.live

QHS = str(Path(sys.executable).with_name("qhs"))
# Nobody, who may yet read this interpreter, wherever it is installed.
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all,+dac_read_search",
          "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of nobody's, with no twin, that nobody can get to."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    folder = tmp_path / "home"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def refusal(command: list[str], **environ: str) -> str:
    """What a command says that has to fail as one of use; the twin that it would make is of its own."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("XDG_STATE")}
    done = subprocess.run(
        command, env={**own, "QHS_TWIN": "testbad", **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("way out: ") == done.stderr.count("qhs: ") == 1, done.stderr
    assert not list(NETNS_FOLDER.glob("qhs-testbad*"))
    return done.stderr


@pytest.mark.parametrize("verb", ["up", "down"])
def test_only_root_can_make_machines(verb: str, home: Path) -> None:
    said = refusal([*NOBODY, QHS, verb], HOME=str(home))
    assert "user 65534 cannot make or end machines" in said
    assert "way out: run the same command as root" in said


def test_a_state_folder_of_someone_else(home: Path) -> None:
    home.chmod(0o755)
    os.chown(home, 0, 0)
    said = refusal([*NOBODY, QHS, "up"], HOME=str(home))
    assert f"{home}/.local" in said
    assert "Permission denied" in said
    assert "way out: run the same command as root" in said


def test_a_program_is_missing(tmp_path: Path, home: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("ip", "nft", "nsenter", "ssh-keygen", "unshare", "sh"):
        (programs / name).symlink_to(shutil.which(name) or name)
    said = refusal([QHS, "up"], HOME=str(home), PATH=str(programs))
    assert "systemd-nspawn is not installed" in said
    assert "apt-get install systemd-container" in said


def test_a_small_disk(small: Path, home: Path) -> None:
    said = refusal([QHS, "up"], HOME=str(home), XDG_STATE_HOME=str(small))
    assert f"{small}/qhs has 0.0 GB free" in said
    assert "XDG_STATE_HOME" in said


def test_a_full_disk(small: Path, home: Path) -> None:
    fill = (small / "fill").open("wb", buffering=0)
    with fill, pytest.raises(OSError, match="No space left"):
        while True:
            fill.write(bytes(4096))
    said = refusal([QHS, "up"], HOME=str(home), XDG_STATE_HOME=str(small))
    assert "No space left on device" in said
    assert "make room there" in said
