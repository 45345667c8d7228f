"""The transcript of a ceremony: what was done when and what devices answered, each entry bound to all before it.

The chain begins at the digest of the script and ends in a head that witnesses sign. A transcript is written in one way
only, so that no byte of a file can be another one and mean the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from qhs import whole
from qhs.chain import Digest, Link, bound, broken
from qhs.hsm.ceremony.script import Script
from qhs.hsm.ceremony.steps import Answers, comparable
from stacks.approvals import Approval
from stacks.model.catalogue import Strict
from stacks.signatures import Name


class TranscriptError(Exception):
    """A file is no transcript."""


class Began(Strict):
    """The script, whole, and who lets it be carried out."""

    kind: Literal["began"] = "began"
    script: str
    token: str
    approval: Approval | None
    """None of a rehearsal, which needs none."""
    rehearsed: Digest | None
    """The head of the transcript of the rehearsal; None in it itself."""


class Resumed(Strict):
    """A run went on with what one before it had begun."""

    kind: Literal["resumed"] = "resumed"
    approval: Approval


class Done(Strict):
    """A step was done, and its answers are as expected."""

    kind: Literal["done"] = "done"
    step: int
    """From 1."""
    answers: Answers


class Stopped(Strict):
    """A step was otherwise than expected; nothing was done after it."""

    kind: Literal["stopped"] = "stopped"
    step: int
    answers: Answers
    faults: list[str]


class Ended(Strict):
    """All steps are done."""

    kind: Literal["ended"] = "ended"


type Event = Annotated[Began | Resumed | Done | Stopped | Ended, Field(discriminator="kind")]


class Entry(Link):
    """An event, bound to the one before it; the first one to the digest of the script."""

    event: Event


class Transcript(Strict):
    """Entries in their order, and what witnesses signed of them so far."""

    schema_version: Literal[1] = 1
    entries: Annotated[list[Entry], Field(min_length=1)]
    signatures: dict[Name, str] = {}
    """By witness, over `signed_text`, in OpenSSH's own form."""

    @classmethod
    def begun(cls, script: Script, event: Began, at: datetime | None = None) -> Transcript:
        """With its first entry."""
        return cls(entries=[_entry(script.digest, event, at)])

    @classmethod
    def read(cls, path: Path) -> Transcript:
        """Raises TranscriptError where it is none, or not written as `text` writes one."""
        try:
            written = path.read_bytes().decode()
            read = cls.model_validate_json(written)
        except (OSError, ValueError) as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise TranscriptError(f"{path}: found no transcript: {said}") from None
        if read.text() != written:
            raise TranscriptError(f"{path}: found a transcript that is not as it was written; wanted every byte of it")
        return read

    def text(self) -> str:
        """The one way in which it is written."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False, sort_keys=True) + "\n"

    def noted(self, event: Event, at: datetime | None = None) -> Transcript:
        """With an entry more, which no witness has signed."""
        return Transcript(entries=[*self.entries, _entry(self.head, event, at)])

    @property
    def head(self) -> str:
        """The hash that stands for all of it."""
        return self.entries[-1].hash

    @property
    def ended(self) -> bool:
        """Whether all steps are done."""
        return isinstance(self.entries[-1].event, Ended)

    @property
    def done(self) -> list[Done]:
        """The steps that are done."""
        return [one.event for one in self.entries if isinstance(one.event, Done)]

    def course(self) -> list[tuple[int, Answers]]:
        """What a rehearsal and its ceremony have in common: all but keys, serials and times (T-E05)."""
        return [(one.step, comparable(one.answers)) for one in self.done]

    def signed_text(self) -> bytes:
        """What a witness signs."""
        return f"transcript sha256:{self.head}\n".encode()

    def broken(self) -> Iterator[str]:
        """Where an entry is not bound to those before it."""
        first = self.entries[0].event
        yield from broken(
            self.entries, hashlib.sha256(first.script.encode()).hexdigest() if isinstance(first, Began) else ""
        )


class Book:
    """A transcript in its file, which has each entry before anybody goes on."""

    def __init__(self, path: Path, transcript: Transcript) -> None:
        self._path, self.transcript = path, transcript
        self._keep()

    def note(self, event: Event) -> None:
        """An entry more."""
        self.transcript = self.transcript.noted(event)
        self._keep()

    def _keep(self) -> None:
        whole.write(self._path, self.transcript.text())


def _entry(previous: str, event: Event, at: datetime | None) -> Entry:
    return bound(Entry(at=at or datetime.now(UTC), event=event, previous=previous))
