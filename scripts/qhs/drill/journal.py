"""The journal of a drill: a line an event, on the disk before anything goes on, each bound to all before it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, ValidationError

from qhs.chain import Link, bound, broken
from qhs.drill.actions import Evidence
from qhs.drill.plan import Plan
from qhs.drill.written import Written
from qhs.errors import UserError
from stacks.model.catalogue import Strict, Title
from stacks.model.source import Source

NAME = "journal.jsonl"


class Objective(Strict):
    """What an application is promised, by its tier, when the drill begins."""

    tenant: str
    title: Title
    tier: int
    rto: Annotated[float, Field(description="seconds")]
    rpo: Annotated[float, Field(description="seconds")]


class Began(Strict):
    """The plan, whole, and what it is carried out on."""

    kind: Literal["began"] = "began"
    name: str
    plan: str
    environment: str
    old: str
    new: str
    commit: str
    versions: dict[str, str]
    objectives: list[Objective]

    @property
    def carried_out(self) -> Plan:
        """The plan, whatever its file says by now. Raises ModelError."""
        return Source(Path(f"{self.name}.yaml"), self.plan).parse(Plan)


class Resumed(Strict):
    """A run went on with what one before it had begun; back: it was told to undo it."""

    kind: Literal["resumed"] = "resumed"
    back: bool


class Held(Strict):
    """A condition is as it must be."""

    kind: Literal["held"] = "held"
    number: int
    """From 0."""
    evidence: Evidence


class Refused(Strict):
    """A condition is not; nothing was touched."""

    kind: Literal["refused"] = "refused"
    number: int
    why: str


class Begun(Strict):
    """A step is about to be done."""

    kind: Literal["begun"] = "begun"
    step: str


class Done(Strict):
    """A step is done, and what it found and what shows it."""

    kind: Literal["done"] = "done"
    step: str
    evidence: list[Evidence]


class Failed(Strict):
    """A step is not done within its bounds."""

    kind: Literal["failed"] = "failed"
    step: str
    why: str


class Kept(Strict):
    """A failure is not undone: the new site has taken writes already."""

    kind: Literal["kept"] = "kept"


class Undone(Strict):
    """What a step did is undone, or could not be."""

    kind: Literal["undone"] = "undone"
    step: str
    evidence: list[Evidence]
    faults: list[str]


class Recorded(Strict):
    """What the client outside has written, and what of it is there."""

    kind: Literal["recorded"] = "recorded"
    written: Written


class Ended(Strict):
    """How the estate stands at the end."""

    kind: Literal["ended"] = "ended"
    evidence: list[Evidence]
    faults: list[str]


LAST = {"ended", "refused"}
"""Kinds of events after which nothing is left to do."""

type Event = Annotated[
    Began | Resumed | Held | Refused | Begun | Done | Failed | Kept | Undone | Recorded | Ended,
    Field(discriminator="kind"),
]


class Entry(Link):
    """An event, bound to the one before it; the first one to the digest of the plan."""

    event: Event


class Journal:
    """In its file."""

    def __init__(self, folder: Path, entries: list[Entry], end: int = 0) -> None:
        self.folder, self.entries = folder, entries
        self._end = end
        """Where the next line goes. A line that a killed run had half written goes then: nothing came after it."""

    @classmethod
    def begin(cls, folder: Path, digest: str, event: Began) -> Journal:
        """With its first entry, which `digest` stands before."""
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        if _lines(folder / NAME):
            raise FileExistsError(f"{folder}: found a drill there; wanted none yet")
        made = cls(folder, [])
        made._append(bound(Entry(at=datetime.now(UTC), event=event, previous=digest)))
        _settle(folder)
        _settle(folder.parent)
        return made

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """As it is. Raises UserError where an entry is not bound to those before it."""
        path = folder / NAME
        lines = _lines(path)
        try:
            entries = [Entry.model_validate_json(line) for line in lines]
        except ValidationError as error:
            raise UserError(f"{path}: found no journal: {error.errors()[0]['msg']}", _BY_HAND) from None
        first = entries[0].event if entries else None
        digest = hashlib.sha256(first.plan.encode()).hexdigest() if isinstance(first, Began) else ""
        if faults := [*broken(entries, digest)]:
            raise UserError(f"{path}: {'; '.join(faults)}", _BY_HAND)
        return cls(folder, entries, sum(map(len, lines)))

    def note(self, event: Event) -> None:
        """An entry more; it is on the disk when this returns."""
        self._append(bound(Entry(at=datetime.now(UTC), event=event, previous=self.entries[-1].hash)))

    def _append(self, entry: Entry) -> None:
        with os.fdopen(os.open(self.folder / NAME, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(entry.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self._end = file.tell()
        self.entries.append(entry)

    def events[E](self, kind: type[E]) -> Iterator[E]:
        """Those of a kind, in their order."""
        return (one.event for one in self.entries if isinstance(one.event, kind))

    @property
    def began(self) -> Began:
        """What it begins with."""
        return next(self.events(Began))

    def shows(self, plan: Plan, action: str) -> bool:
        """Whether a step that does this is done."""
        done = {one.step for one in self.events(Done)}
        return any(one.do == action and one.name in done for one in plan.steps)

    def found(self, plan: Plan, action: str) -> dict[str, JsonValue]:
        """What the last step that did this has found itself; empty: none is done."""
        named = {one.name for one in plan.steps if one.do == action}
        return next((one.evidence[0].facts for one in [*self.events(Done)][::-1] if one.step in named), {})

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return any(one.event.kind in LAST for one in self.entries)


def is_over(folder: Path) -> bool:
    """Whether nothing is left to do of the drill there, by its last line alone; whether it is whole is not asked."""
    lines = _lines(folder / NAME)
    try:
        return json.loads(lines[-1])["event"]["kind"] in LAST
    except (LookupError, TypeError, ValueError):
        return False


_BY_HAND = "keep it as it is; `qhs lease status` says who takes writes, `qhs drill plan NAME` what to do by hand"


def journals(folder: Path) -> dict[str, Path]:
    """By name the folder of each drill that was begun, the oldest first."""
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{NAME}")) if _lines(path)}


def _lines(path: Path) -> list[bytes]:
    """Those that are whole, with their ends."""
    return [one for one in path.read_bytes().splitlines(keepends=True) if one.endswith(b"\n")] if path.exists() else []


def _settle(folder: Path) -> None:
    """The names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
