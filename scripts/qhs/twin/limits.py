"""The one setting of the host that a twin changes and puts back: inotify instances for root.

The kernel's 128 stop the twentieth machine: a booted systemd takes 5, containerd one more.
"""

import json
from pathlib import Path

from qhs import folders
from qhs.lock import in_turn
from qhs.progress import silent

KNOB = Path("/proc/sys/fs/inotify/max_user_instances")
WANTED = 4096


def raise_for(twin: str) -> None:
    """Raise the limit for `twin`, and keep what it was before the first twin came."""
    with in_turn(_note().with_suffix(".lock"), "inotify limit", silent):
        was, twins = _read()
        _write(was, twins | {twin})
        if int(KNOB.read_text()) < WANTED:
            KNOB.write_text(f"{WANTED}\n")


def restore_for(twin: str) -> None:
    """Let go of the limit for `twin`; the last twin puts back what was there."""
    with in_turn(_note().with_suffix(".lock"), "inotify limit", silent):
        if not _note().is_file():
            return
        was, twins = _read()
        twins -= {twin}
        if twins:
            _write(was, twins)
            return
        if int(KNOB.read_text()) == WANTED:
            KNOB.write_text(f"{was}\n")
        _note().unlink()


def _note() -> Path:
    return folders.state() / "inotify.json"


def _read() -> tuple[int, set[str]]:
    if not _note().is_file():
        return int(KNOB.read_text()), set()
    kept = json.loads(_note().read_text())
    return kept["was"], set(kept["twins"])


def _write(was: int, twins: set[str]) -> None:
    fresh = _note().with_suffix(".new")
    fresh.write_text(json.dumps({"was": was, "twins": sorted(twins)}) + "\n")
    fresh.rename(_note())
