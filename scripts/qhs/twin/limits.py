"""The one setting of the host that a twin changes and puts back: inotify instances for root.

The kernel's 128 stop the twentieth machine: a booted systemd takes 5, containerd one more.
"""

from pathlib import Path

from qhs import whole
from qhs.lock import in_turn
from qhs.progress import silent
from qhs.twin import names

KNOB = Path("/proc/sys/fs/inotify/max_user_instances")
WANTED = 4096

# Of the host, not of a user's state: all twins share the one setting, and it ends with the host's uptime.
_FOLDER = Path("/run/qhs")
_WAS = _FOLDER / "inotify-was"
_LOCK = _FOLDER / "inotify.lock"


def ensure() -> None:
    """Raise the limit, keeping what it was before the first twin; called once this one has its namespace."""
    with in_turn(_LOCK, "inotify limit", silent):
        found = KNOB.read_text()
        if int(found) >= WANTED:
            return
        whole.write(_WAS, found)
        KNOB.write_text(f"{WANTED}\n")


def restore() -> None:
    """Put back what was there, if no twin is left."""
    with in_turn(_LOCK, "inotify limit", silent):
        if names.twins() or not _WAS.is_file():
            return
        if int(KNOB.read_text()) == WANTED:
            KNOB.write_text(_WAS.read_text())
        _WAS.unlink()
