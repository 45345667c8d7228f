"""Programs that Python's registry has and no other one for us: the wheels of a lock, unpacked in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from qhs.errors import UserError
from qhs.folders import CLONE, cache
from qhs.progress import Progress
from qhs.tools import store


def unpacked(name: str, lock: Path, needs_mib: int, progress: Progress) -> Path:
    """The folder with what the wheels of `lock` hold; each is checked against its hash. Raises UserError."""

    def unpack(folder: Path) -> None:
        progress(f"{name}: fetching the wheels of {lock.name} ({needs_mib} MiB at most)")
        command = [_uv(), "pip", "install", "-q", "--no-deps", "--require-hashes", "--target", str(folder / "site")]
        run = subprocess.run([*command, "-r", str(lock)], capture_output=True, text=True, check=False)
        if run.returncode:
            raise UserError(f"could not fetch the wheels of {lock}: {run.stderr.strip()}", "run the same again")

    store.require_space([cache()], needs_mib, name)
    return store.keep(name, hashlib.sha256(lock.read_bytes()).hexdigest()[:16], unpack, progress).folder / "site"


def _uv() -> str:
    """The uv that `make env` put into the cache, else one on PATH."""
    key = hashlib.sha256((CLONE / "scripts" / "uv.lock").read_bytes()).hexdigest()[:16]
    ours = cache() / f"uv-{key}" / "bin" / "uv"
    found = str(ours) if os.access(ours, os.X_OK) else shutil.which("uv")
    if not found:
        raise UserError("found no uv to fetch wheels with", "run `make env`")
    return found
