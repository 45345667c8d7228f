"""A log in which each line holds the hash of the one before it: what was taken out or changed later is seen.

It is written to a file that is only added to, and to the journal, which goes to the security operations of two sites.
"""

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FIRST = "0" * 64
_LONGEST = 16 * 1024


class Chained:
    """Goes on where its file ends."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._last = _last(self._handle)

    def add(self, **said: Any) -> None:
        """One line, before anybody is told what it says."""
        line = json.dumps({"at": datetime.now(UTC).isoformat(), **said, "before": self._last}, sort_keys=True)
        os.write(self._handle, f"{line}\n".encode())
        self._last = digest(line)
        print(line, flush=True)


def digest(line: str) -> str:
    """By which the next line names it."""
    return hashlib.sha256(line.encode()).hexdigest()


def broken(lines: list[str]) -> int | None:
    """The number of the first line, from 1, that does not follow from the one before it; None: all do."""
    before = FIRST
    for number, line in enumerate(lines, 1):
        if json.loads(line)["before"] != before:
            return number
        before = digest(line)
    return None


def _last(handle: int) -> str:
    size = os.fstat(handle).st_size
    tail = os.pread(handle, min(size, _LONGEST), max(0, size - _LONGEST)).decode(errors="replace")
    if tail and not tail.endswith("\n"):  # somebody died who was writing it
        os.write(handle, b"\n")
        tail += "\n"
    return digest(tail.rstrip("\n").rpartition("\n")[2]) if tail else FIRST
