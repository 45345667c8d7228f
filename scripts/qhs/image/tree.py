"""What a root tree is, to the last byte: times clamped to the sources' own, and one digest over all of it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_AR_DATE = slice(24, 36)
"""Where the first member's date stands in an ar archive, which a .deb is."""


def newest(packages: Path) -> int:
    """When the newest of these packages was made, in seconds since the epoch: no clock of a builder sets it."""
    return max(_made(path) for path in packages.glob("*.deb"))


def _made(path: Path) -> int:
    with path.open("rb") as file:
        return int(file.read(_AR_DATE.stop)[_AR_DATE])


def clamp(root: Path, latest: int) -> None:
    """Have nothing in a tree be newer than `latest`."""
    for path in (root, *_below(root)):
        if path.lstat().st_mtime_ns > latest * 10**9:
            os.utime(path, (latest, latest), follow_symlinks=False)


def entries(root: Path) -> Iterator[str]:
    """A line for each thing in a tree: its mode, owner, time, extended attributes (capabilities), path and content."""
    for path in (root, *_below(root)):
        told = path.lstat()
        attributes = [
            f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}"
            for name in sorted(os.listxattr(path, follow_symlinks=False))
        ]
        owner = f"{told.st_uid}:{told.st_gid}"
        words = [f"{told.st_mode:o}", owner, f"{told.st_mtime_ns}", *attributes, repr(str(path.relative_to(root)))]
        yield " ".join([*words, _content(path, told)])


def digest(root: Path) -> str:
    """SHA-256 over `entries`."""
    total = hashlib.sha256()
    for line in entries(root):
        total.update(f"{line}\n".encode())
    return total.hexdigest()


def _below(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*"))


def _content(path: Path, told: os.stat_result) -> str:
    if stat.S_ISLNK(told.st_mode):
        return f"-> {path.readlink()}"
    if stat.S_ISREG(told.st_mode):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return f"{told.st_rdev:x}"
