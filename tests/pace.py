"""The pace of this machine. Limits in seconds are those of a quiet one: where others slow its cores down, it gets more.

Its cores are virtual and shared: the same work was seen to take twice the time within an hour, and a core is slower
while its neighbour works.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

QUIET = 0.024
"""Seconds of `_work` on each of two shared cores at once: the least that was measured, often it was twice as much."""
TRIES = 5


class Pace:
    """Taken before something is timed, and asked for its limit afterwards."""

    def __init__(self) -> None:
        self._before = slowness()

    def limit(self, seconds: float) -> float:
        """What takes these seconds on a quiet machine may take so many here, by the pace before and after it."""
        return seconds * (self._before + slowness()) / 2


def slowness() -> float:
    """How many times slower the cores work now, all at once, than those of a quiet machine; never less than 1."""
    at_work = [
        subprocess.Popen([sys.executable, "-I", __file__], stdout=subprocess.PIPE) for _ in range(os.cpu_count() or 1)
    ]
    return max(1.0, *(float(one.communicate()[0]) / QUIET for one in at_work))


def _work() -> float:
    """Seconds for what is the same each time."""
    started = time.monotonic()
    found: dict[int, tuple[int, int]] = {}
    for number in range(100_000):
        found[number * 7919 % 65_521] = (number, number * number)
    sorted(found.values())
    return time.monotonic() - started


if __name__ == "__main__":
    print(sorted(_work() for _ in range(TRIES))[TRIES // 2])
