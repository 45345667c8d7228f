"""The file of a ledger: one JSON line a try, never changed once it is there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

BATCH = 1.0
"""Seconds after which lines are on the disk at the latest: what a crash of the client's own host can take."""

ENDS = '{"ended"'
type Lane = Literal["write", "read", "web"]


class Wrong(StrEnum):
    """Why a try came to nothing."""

    NAME = "name"
    """It leads to no address."""
    SILENT = "silent"
    """No answer in time: hung is down."""
    CONNECTION = "connection"
    """None came about, or it broke off."""
    READ_ONLY = "read-only"
    REFUSED = "refused"
    """Answered with an error."""
    MISSING = "missing"
    """The row that was acknowledged before is not there."""


class Begun(BaseModel):
    """The first line of a client, and of each that goes on after one that was ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    begun: datetime
    clock: float
    """What `time.monotonic` said then, as all moments of the file have it: seconds, of that host alone."""
    every: float
    """Seconds from one try of a lane to the next."""
    patience: float
    """Seconds after which a try without an answer has failed."""


class Ended(BaseModel):
    """The last line of a client that was told to end, and did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ended: float
    """When it was told, by its clock."""


class Try(BaseModel):
    """One attempt. A number is tried once: whoever tries again takes the next."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lane: Lane
    number: int
    """Of the row that it writes, or looks for."""
    at: float
    took: float
    """Seconds."""
    address: str = ""
    """To which the name led; empty: to none."""
    site: str = ""
    """Which has that address, or which says of itself that it answered."""
    wrong: Wrong | None = None
    said: str = ""

    @property
    def until(self) -> float:
        """When it was known what came of it."""
        return self.at + self.took


class File:
    """Lines of several threads, and on the disk in batches: a disk that is slow holds up no try."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._file.close()

    def add(self, line: Begun | Try | Ended) -> None:
        with self._turn:
            self._file.write(line.model_dump_json(exclude_defaults=True) + "\n")

    def _keep(self) -> None:
        ended = False
        while not ended:
            ended = self._over.wait(BATCH)
            os.fsync(self._file.fileno())


def begun(every: float, patience: float) -> Begun:
    """Now."""
    return Begun(begun=datetime.now(UTC), clock=time.monotonic(), every=every, patience=patience)


def read(path: Path) -> tuple[list[Begun], list[Try]]:
    """A file, also of a client that goes on. The last line may be half there: its client was killed."""
    begins, tries = [], []
    for line in _whole(path):
        if line.startswith('{"begun"'):
            begins.append(Begun.model_validate_json(line))
        elif not line.startswith(ENDS):
            tries.append(Try.model_validate_json(line))
    return begins, tries


def ended(path: Path) -> float | None:
    """When a client was told to end, by its clock; None: it goes on, or it died."""
    last = [*_whole(path)][-1:]
    return Ended.model_validate_json(last[0]).ended if last and last[0].startswith(ENDS) else None


def _whole(path: Path) -> Iterator[str]:
    if path.exists():
        yield from path.read_text().split("\n")[:-1]
