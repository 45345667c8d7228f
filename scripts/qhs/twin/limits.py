"""The settings of the host that a twin changes and puts back: all its machines share one kernel.

inotify instances for root: the kernel's 128 stop the twentieth machine, as a booted systemd takes 5, containerd one
more. Neighbours: the kernel counts those of all namespaces together, and with 1,024 known refuses to learn another one,
so that packets are lost while the probe has every place speak to every other.
"""

from collections.abc import Mapping
from pathlib import Path

from qhs import whole
from qhs.lock import in_turn
from qhs.progress import silent
from qhs.twin import names

_SYS = Path("/proc/sys")
INOTIFY = _SYS / "fs/inotify/max_user_instances"
KNOBS: Mapping[Path, int] = {
    INOTIFY: 4096,
    **{_SYS / f"net/{family}/neigh/default/gc_thresh1": 4096 for family in ("ipv4", "ipv6")},
    **{_SYS / f"net/{family}/neigh/default/gc_thresh2": 8192 for family in ("ipv4", "ipv6")},
    **{_SYS / f"net/{family}/neigh/default/gc_thresh3": 16384 for family in ("ipv4", "ipv6")},
}

# Of the host, not of a user's state: all twins share the settings, and they end with the host's uptime.
_FOLDER = Path("/run/qhs")
_LOCK = _FOLDER / "limits.lock"


def ensure(knobs: Mapping[Path, int] = KNOBS) -> None:
    """Raise the limits, keeping what they were before the first twin; called once this one has its namespace."""
    with in_turn(_LOCK, "limits of the host", silent):
        for knob, wanted in knobs.items():
            found = knob.read_text()
            if int(found) < wanted:
                whole.write(_was(knob), found)
                knob.write_text(f"{wanted}\n")


def restore(knobs: Mapping[Path, int] = KNOBS) -> None:
    """Put back what was there, if no twin is left."""
    with in_turn(_LOCK, "limits of the host", silent):
        for knob, wanted in knobs.items():
            was = _was(knob)
            if names.twins() or not was.is_file():
                continue
            if int(knob.read_text()) == wanted:
                knob.write_text(was.read_text())
            was.unlink()


def _was(knob: Path) -> Path:
    return _FOLDER / f"was{str(knob).replace('/', '-')}"
