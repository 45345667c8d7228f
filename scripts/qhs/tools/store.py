"""The cache of built things: each appears whole or not at all."""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qhs.errors import UserError
from qhs.folders import cache
from qhs.lock import in_turn
from qhs.progress import Progress

type FreeSpace = Callable[[Path], int]
"""MiB free at a folder."""


@dataclass(frozen=True)
class Kept:
    """One entry of the cache. `seconds` is what its making took."""

    folder: Path
    seconds: float
    fresh: bool


def free_mib(folder: Path) -> int:
    """MiB that are free where `folder` is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // 2**20


def require_space(folders: list[Path], needs_mib: int, what: str, free: FreeSpace = free_mib) -> None:
    """Raises UserError, before anything is written, when one of the folders has less than `needs_mib` MiB free."""
    for folder in folders:
        found = free(folder)
        if found < needs_mib:
            raise UserError(
                f"too little disk space to build {what}: found {found} MiB at {folder}, wanted {needs_mib} MiB",
                "free some space, or point XDG_CACHE_HOME, GOCACHE and GOMODCACHE to a larger disk",
            )


def entry(name: str, key: str) -> Path:
    """Where the thing `name`, made from what `key` stands for, is kept."""
    return cache() / "tools" / f"{name}-{key}"


def recall(name: str, key: str) -> Kept | None:
    """The entry, if it is there."""
    folder = entry(name, key)
    try:
        facts = json.loads((folder / "made.json").read_text())
    except FileNotFoundError:
        return None
    return Kept(folder, facts["seconds"], fresh=False)


def keep(name: str, key: str, make: Callable[[Path], None], progress: Progress) -> Kept:
    """The entry, made by `make(folder)` if need be. Two runs at once take turns, and the second finds it made.

    What a killed run left behind is removed by the next one.
    """
    if kept := recall(name, key):
        return kept
    tools = cache() / "tools"
    with in_turn(tools / f".{name}.lock", name, progress):
        if kept := recall(name, key):
            return kept
        for leftover in tools.glob(f".new-{name}.*"):
            remove(leftover)
        new = tools / f".new-{name}.{key}"
        new.mkdir()
        started = time.monotonic()
        try:
            make(new)
            seconds = round(time.monotonic() - started, 1)
            (new / "made.json").write_text(json.dumps({"seconds": seconds}))
            os.sync()  # or a power cut could leave a whole-looking folder of empty files
            new.rename(entry(name, key))
        except BaseException:
            remove(new)
            raise
    return Kept(entry(name, key), seconds, fresh=True)


def remove(folder: Path) -> None:
    """Take a tree away, read-only folders included."""

    def unlock(_: object, path: str, error: BaseException) -> None:
        if not isinstance(error, PermissionError):
            raise error
        Path(path).parent.chmod(0o700)
        Path(path).unlink()

    shutil.rmtree(folder, onexc=unlock)
