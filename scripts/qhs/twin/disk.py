"""A machine's disk: what it has that the golden image has not. It outlives the machine's power."""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from qhs import whole
from qhs.image import Image
from qhs.twin import render
from qhs.twin.names import MachinePaths, Twin
from qhs.twin.sshkey import make
from qhs.twin.topology import File, Machine


@dataclass(frozen=True)
class Record:
    """What a disk was made for; `boot_seconds` is None while the machine has not answered yet."""

    image: str
    mark: str
    addresses: tuple[str, ...]
    boot_seconds: float | None = None

    def save(self, paths: MachinePaths) -> None:
        whole.write(paths.record, json.dumps(asdict(self)) + "\n")


def load(paths: MachinePaths) -> Record | None:
    if not paths.record.is_file():
        return None
    kept = json.loads(paths.record.read_text())
    return Record(**kept | {"addresses": tuple(kept["addresses"])})


def booted(paths: MachinePaths, seconds: float) -> None:
    """Note how long the machine's last boot took."""
    if record := load(paths):
        replace(record, boot_seconds=seconds).save(paths)


def mark(machine: Machine, image: Image) -> str:
    """A short name that changes with whatever a machine can only take up by a boot."""
    told = machine.model_dump_json(exclude={"files", "roles", "site"})
    return hashlib.sha256(f"{image.key} {told}".encode()).hexdigest()[:16]


def prepare(twin: Twin, machine: Machine, image: Image, operator_key: str) -> None:
    """Make the disk of a machine that is off: a new one if there is none or it lies over another image."""
    paths = twin.machine(machine.name)
    before = load(paths)
    fresh = before is None or before.image != image.key
    if fresh:
        paths.record.unlink(missing_ok=True)
        shutil.rmtree(paths.upper.parent, ignore_errors=True)
    for folder in (paths.upper, paths.root, *([paths.containers] if machine.containers else [])):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
    # The kernel's own scratch room; what a killed mount left in it is of no use.
    shutil.rmtree(paths.work, ignore_errors=True)
    paths.work.mkdir()
    own = render.identity(twin.name, machine, operator_key, make(paths.host_key).read_text())
    for stale in (paths.upper / "etc/systemd/network").glob("[0-9][0-9]-*.network"):
        stale.unlink()
    files = machine.files if fresh else {}
    for path, file in ({path: file for path, file in own.items() if path not in machine.files} | files).items():
        write(image.path, paths.upper, path, file)
    addresses = tuple(str(own) for _, own in machine.interfaces())
    Record(image.key, mark(machine, image), addresses).save(paths)


def write(lower: Path, upper: Path, path: str, file: File) -> None:
    """Put a file on a disk. A folder shows the disk's mode, not the image's, so new ones copy the image's."""
    relative = path.lstrip("/")
    for folder in reversed(Path(relative).parents):
        there = upper / folder
        if not there.is_dir():
            there.mkdir()
            model = lower / folder
            there.chmod(model.stat().st_mode & 0o7777 if model.is_dir() else 0o755)
    target = upper / relative
    target.unlink(missing_ok=True)
    target.touch(0o600)
    target.write_text(file.content)
    target.chmod(file.mode)
