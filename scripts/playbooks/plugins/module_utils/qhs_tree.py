"""What a machine knows of the files, units and states of its roles, as their last runs left them.

`qhs_tree_write` keeps a record of each role. Run by itself, with the digest of all that `qhs up` was told of the
machine and the names of its roles, this prints a line for whatever is not as recorded, and changes nothing: so one
round trip tells whether Ansible has anything to do on a machine. Who is root there can lie to it, as to Ansible's own
modules.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import shlex
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

# What was written and nobody has acted on yet. A boot acts on every file, so the note need not outlive one.
DUE = Path("/run/qhs-roles")
RECORDS = Path("/var/lib/qhs/roles")
AT_WORK = {"ActiveState=active", "UnitFileState=enabled", "NeedDaemonReload=no"}


@dataclass(frozen=True)
class Record:
    """What a role has on a machine."""

    described: str
    """The digest of what `qhs up` was told of the machine; empty where somebody else ran the role."""
    files: dict[str, list[str]]
    """By path the hash, owner, group and mode."""
    units: list[str]
    """To be enabled, and active with what their files say now."""
    holds: list[dict[str, str]]
    """Each a `command` that ends well while a state holds and, where that is not enough, what it `says` then."""

    @classmethod
    def read(cls, role: str) -> Record | None:
        """As the last run left it; None where there is none that can be read."""
        try:
            return cls(**json.loads((RECORDS / role).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, role: str) -> None:
        """For the next look."""
        if Record.read(role) != self:
            RECORDS.mkdir(mode=0o700, parents=True, exist_ok=True)
            write(RECORDS / role, json.dumps(asdict(self)))

    @staticmethod
    def forget(role: str) -> None:
        """Of a role that has nothing there any more."""
        (RECORDS / role).unlink()

    def drifted(self) -> list[str]:
        """The paths, units and commands that are not as recorded."""
        files = [path for path, wanted in self.files.items() if _found(Path(path)) != wanted]
        return [*files, *idle(self.units), *lapsed(self.holds)]


def described(file: dict[str, str]) -> list[str]:
    """What a record says of a file as a role describes it."""
    return [_digest(file["content"].encode()), file["owner"], file["group"], file["mode"].zfill(4)]


def write(path: Path, content: str) -> None:
    """The whole file or the old one; nobody reads it before its mode is right."""
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    Path(fresh).replace(path)


def states(units: list[str]) -> dict[str, set[str]]:
    """Whether each unit is active and enabled, with what its files say."""
    if not units:
        return {}
    shown = ["systemctl", "show", "--property=ActiveState,UnitFileState,NeedDaemonReload", *units]
    said = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    found = said.strip().split("\n\n")
    return {unit: set(state.split("\n")) for unit, state in zip(units, found, strict=True)}


def idle(units: list[str]) -> list[str]:
    """Units that are not enabled and active, or whose files say what systemd has not read."""
    return [unit for unit, state in states(units).items() if state != AT_WORK]


def lapsed(holds: list[dict[str, str]]) -> list[str]:
    """Commands whose state does not hold, each with what it said; what is not even there has lapsed too."""
    return [f"{one['command']}: {said}" for one in holds if (said := _lacks(one["command"], one.get("says")))]


def _lacks(command: str, says: str | None) -> str:
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    if done.returncode == 0 and says in (None, done.stdout.strip()):
        return ""
    return " ".join([f"exit code {done.returncode}", *(done.stdout + done.stderr).split()])


def _found(path: Path) -> list[str] | None:
    try:
        state = path.lstat()
        owner, group = pwd.getpwuid(state.st_uid).pw_name, grp.getgrgid(state.st_gid).gr_name
    except (OSError, KeyError):
        return None
    return [digest(path), owner, group, f"{state.st_mode & 0o7777:04o}"]


def digest(path: Path) -> str:
    """Of the content; of a link, or of what cannot be read, none that a file could have."""
    try:
        return "" if path.is_symlink() else _digest(path.read_bytes())
    except OSError:
        return ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main(described: str, *roles: str) -> None:
    """Look at roles."""
    for role in roles:
        record, due = Record.read(role), DUE / role
        if record is None or record.described != described:
            print(f"no record of {role} as it is described")
        for one in record.drifted() if record else []:
            print(one)
        if due.exists():
            print(due)


if __name__ == "__main__":
    main(*sys.argv[1:])
