"""One run at a time, told apart from a run that died."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from qhs.errors import UserError
from qhs.progress import Progress


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`, or raise a UserError that names the pid and the age of whoever holds it.

    The kernel lets go of it when its holder ends, however it ends; the file itself stays.
    """
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{what} is already running: {_holder(file)} ({path})", "wait for it, or end it") from None
        _sign(file)
        yield


@contextmanager
def in_turn(path: Path, waiting: str, progress: Progress) -> Iterator[None]:
    """Hold the lock file `path`, waiting for whoever has it and saying so once."""
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"{waiting}: waiting for {_holder(file)}")
            fcntl.flock(file, fcntl.LOCK_EX)
        _sign(file)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a+") as file:
        yield file


def _sign(file: TextIO) -> None:
    file.truncate(0)
    file.write(f"{os.getpid()} {time.time():.0f}\n")
    file.flush()


def _holder(file: TextIO) -> str:
    file.seek(0)
    pid, _, since = file.read().strip().partition(" ")
    if not since:
        return "a run that has just begun"
    return f"pid {pid}, for {max(0.0, time.time() - float(since)):.0f} s"
