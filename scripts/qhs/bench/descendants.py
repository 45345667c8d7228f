"""What all processes below this one need together, while something runs: they come and go, so it is sampled."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

EVERY = 0.2
"""Seconds between samples. A peak that is shorter is missed; one sample takes a few milliseconds."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


class Descendants:
    """Looks on until it is left. Memory that several have in common counts for each of them."""

    def __init__(self) -> None:
        self.peak = 0
        """Bytes that were resident at the worst sample."""
        self._seconds: dict[tuple[int, str], float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    @property
    def processor_seconds(self) -> float:
        """Of all of them on all cores, up to the last sample of each."""
        return sum(self._seconds.values())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(EVERY):
            self._sample()

    def _sample(self) -> None:
        resident = 0
        for pid in below(os.getpid()):
            try:
                # pid (name, which may hold anything) state ppid ... Its start tells it from a later one of its number.
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            user, system, started, pages = fields[11], fields[12], fields[19], fields[21]
            self._seconds[pid, started] = (int(user) + int(system)) / _TICK
            resident += int(pages) * _PAGE
        self.peak = max(self.peak, resident)


def below(pid: int) -> Iterator[int]:
    """The processes that a process started, and those that they did."""
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(one) for one in file.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended meanwhile
        for child in children:
            yield child
            yield from below(child)
