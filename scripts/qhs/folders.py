"""Where things live outside of the clone."""

import os
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]


def cache() -> Path:
    """What can be built again: tools, images, downloads."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qhs"


def state() -> Path:
    """What cannot: one folder an environment or twin, 0700."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "qhs"
