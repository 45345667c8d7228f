"""Waiting for what comes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.pace import Pace


def await_(what: Callable[[], bool], seconds: float = 60) -> None:
    """Ask twice a second until it is so; fails where it is not within these seconds of a quiet machine."""
    pace, began = Pace(), time.monotonic()
    while not what():
        took = time.monotonic() - began
        assert took < seconds or took < pace.limit(seconds), what
        time.sleep(0.5)
