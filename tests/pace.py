"""The pace of this machine. Limits in seconds are those of a quiet one: where others slow its cores down, it gets more.

Its cores are virtual and shared, and the same work was seen to take twice the processor time within an hour.
"""

from __future__ import annotations

import time

QUIET = 0.024
"""Processor seconds of `_work`: the least that was measured on two shared cores, often it was twice as much."""
TRIES = 5


class Pace:
    """Taken before something is timed, and asked for its limit afterwards."""

    def __init__(self) -> None:
        self._before = slowness()

    def limit(self, seconds: float) -> float:
        """What takes these seconds on a quiet machine may take so many here, by the pace before and after it."""
        return seconds * (self._before + slowness()) / 2


def slowness() -> float:
    """How many times slower a core works now than on a quiet machine; never less than 1."""
    return max(1.0, sorted(_work() for _ in range(TRIES))[TRIES // 2] / QUIET)


def _work() -> float:
    """Processor seconds for what is the same each time."""
    started = time.process_time()
    found: dict[int, tuple[int, int]] = {}
    for number in range(100_000):
        found[number * 7919 % 65_521] = (number, number * number)
    sorted(found.values())
    return time.process_time() - started
