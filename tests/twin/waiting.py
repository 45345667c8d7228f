"""Waiting for what comes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable


def await_(what: Callable[[], bool], seconds: float = 60) -> None:
    """Ask twice a second until it is so; fails where it is not within these seconds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, what
        time.sleep(0.5)
