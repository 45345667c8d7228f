"""Processes of the host in a twin's network namespaces: shells, SSH masters, probes, the power endpoint."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from qhs.errors import UserError

_PATIENCE = 3.0
"""Seconds to leave after SIGTERM, and again after SIGKILL."""

type Which = Callable[[int], bool]


def end(
    namespaces: Iterable[Path],
    which: Which = lambda _: True,
    by: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGKILL),
) -> None:
    """End those that `which` (a pid) picks: they would keep the namespaces alive. Raises UserError if one stays."""
    inodes = {path.stat().st_ino for path in namespaces if path.exists()}
    for sign in by:
        deadline = time.monotonic() + _PATIENCE
        while found := _inside(inodes, which):
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, sign)
            # Only now: on a slow machine to find them alone takes longer.
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    if found := _inside(inodes, which):
        raise UserError(f"processes {found} hold the twin's namespaces", "end them, then say it again")


def runs_module(module: str) -> Which:
    """Picks the processes that were started as `python -m MODULE`."""

    def which(pid: int) -> bool:
        try:
            return module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False

    return which


def _inside(inodes: set[int], which: Which) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            if path.stat().st_ino in inodes and which(int(path.parts[2])):
                found.append(int(path.parts[2]))
        except OSError:
            continue
    return found
