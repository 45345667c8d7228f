"""Replay of a transcript: whether it says what its script wants, who approved that, and who witnessed it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from qhs.hsm.ceremony import steps
from qhs.hsm.ceremony.script import ACTION, Record, Script
from qhs.hsm.ceremony.transcript import Began, Done, Ended, Resumed, Transcript
from stacks import signatures
from stacks.approvals import ApprovalError, Approvers
from stacks.model import ModelError
from stacks.provider.signing.devices import Token, each
from stacks.signatures import SignatureError

NAMESPACE = "qhs-witness"


class Replayed(BaseModel):
    """What `qhs hsm ceremony verify --json` prints."""

    ceremony: str
    digest: str
    """Of the script."""
    head: str
    token: str
    rehearsal: bool
    approved: list[str] = []
    witnessed: list[str] = []
    faults: list[str] = []
    gaps: list[str] = []
    """Devices that did not answer."""

    @property
    def code(self) -> Literal[0, 2, 3]:
        """2: it is not what it says; 3: a device did not answer."""
        return 2 if self.faults else 3 if self.gaps else 0


@dataclass(frozen=True)
class Told:
    """A transcript that holds together, with what it says."""

    transcript: Transcript
    script: Script
    began: Began

    @property
    def rehearsal(self) -> bool:
        """Whether it is of a token that is gone."""
        return self.began.token == self.script.token(rehearsal=True)

    @property
    def recorded(self) -> dict[str, Any]:
        """By device what it held in the end."""
        return self.transcript.done[-1].answers


def told(transcript: Transcript, path: Path) -> tuple[Told | None, list[str]]:
    """Pure: chain, script, every step and its answers; with what is wrong, and None where nothing can be said."""
    began = transcript.entries[0].event
    broken = list(transcript.broken())
    if not isinstance(began, Began):
        return None, [*broken, "found no beginning; wanted the script first"]
    try:
        found = Told(transcript, Script.of(began.script, path), began)
    except ModelError as error:
        return None, [*broken, f"found no script of a ceremony: {error}"]
    return found, [*broken, *_order(found), *_answers(found)]


def replayed(transcript: Transcript, path: Path, approvers: Approvers) -> tuple[Told | None, Replayed]:
    """All that needs no device."""
    found, faults = told(transcript, path)
    if found is None:
        said = Replayed(ceremony="", digest="", head=transcript.head, token="", rehearsal=False, faults=faults)
        return None, said
    said = Replayed(
        ceremony=found.script.ceremony.name,
        digest=found.script.digest,
        head=transcript.head,
        token=found.began.token,
        rehearsal=found.rehearsal,
        faults=faults,
    )
    if not found.rehearsal:
        approved, unapproved = _approved(found, approvers)
        witnessed = witnesses(found)
        said.approved, said.witnessed = sorted(approved), sorted(witnessed)
        said.faults += unapproved
        if len(witnessed) < (need := found.script.ceremony.witnesses.need):
            said.faults.append(f"found {', '.join(said.witnessed) or 'nobody'} who witnessed it; wanted {need}")
    return found, said


def witnesses(found: Told) -> set[str]:
    """Whose signature holds, by the keys that the script names."""
    with tempfile.NamedTemporaryFile("w") as signers:
        keys = found.script.ceremony.witnesses.keys
        signers.writelines(f"{signatures.line(name, NAMESPACE, key)}\n" for name, key in keys.items())
        signers.flush()
        text, signed = found.transcript.signed_text(), found.transcript.signatures
        return signatures.holding(text, NAMESPACE, signed, Path(signers.name))


def witness(found: Told, name: str, key: Path) -> Transcript:
    """With the signature of one who was there. Raises SignatureError where it is not by the key of the script."""
    signature = signatures.sign(found.transcript.signed_text(), NAMESPACE, key)
    signed = found.transcript.model_copy(update={"signatures": {**found.transcript.signatures, name: signature}})
    if name not in witnesses(replace(found, transcript=signed)):
        named = ", ".join(found.script.ceremony.witnesses.keys)
        raise SignatureError(f"{key}: found no key of {name}; wanted one that the script names, of {named}")
    return signed


def differing(found: Told, rehearsal: Transcript) -> Iterator[str]:
    """What a rehearsal has in common with it, and should."""
    if found.began.rehearsed != rehearsal.head:
        yield f"found the rehearsal {rehearsal.head[:16]}; wanted {(found.began.rehearsed or 'none')[:16]}"
    if found.transcript.course() != rehearsal.course():
        yield "found other answers than in the rehearsal; wanted the same but for keys"


def _order(found: Told) -> Iterator[str]:
    """One beginning, each step once, one end."""
    events = [one.event for one in found.transcript.entries]
    if sum(isinstance(one, Began) for one in events) != 1:
        yield "found more than one beginning; wanted one"
    if [isinstance(one, Ended) for one in events] != [False] * (len(events) - 1) + [True]:
        yield "found no end, or more behind it; wanted the end last"
    numbers = [one.step for one in events if isinstance(one, Done)]
    wanted = list(range(1, len(found.script.ceremony.steps) + 1))
    if numbers != wanted:
        yield f"found steps {numbers}; wanted {wanted}"
    if found.began.token not in [found.script.token(rehearsal=one) for one in (False, True)]:
        yield f"found the token {found.began.token}; wanted {found.script.ceremony.token}"


def _answers(found: Told) -> Iterator[str]:
    """As expected, and of one and the same keys from step to step."""
    made: dict[str, str] = {}
    for step, one in zip(found.script.ceremony.steps, found.transcript.done, strict=False):
        for fault in steps.faults(step, one.answers, found.script.ceremony.devices):
            yield f"step {one.step}: {fault}"
        for device, answer in one.answers.items():
            if "fingerprint" in answer:
                made[getattr(step, "label", "")] = answer["fingerprint"]
            if isinstance(step, Record) and answer.get("fingerprints") != made:
                yield f"step {one.step}: {device}: found other keys than were made; wanted those"


def _approved(found: Told, approvers: Approvers) -> tuple[set[str], list[str]]:
    """Who let it begin, and each time go on; an approval counts at its time."""
    approved: set[str] = set()
    faults = []
    for number, one in enumerate(found.transcript.entries, 1):
        if not isinstance(one.event, Began | Resumed):
            continue
        approval = one.event.approval
        if approval is None or not approval.statement.names(ACTION, found.script.subject):
            faults.append(f"entry {number}: found no approval of {found.script.subject}; wanted one")
            continue
        try:
            approved |= approvers.judge(approval, one.at)
        except ApprovalError as error:
            faults.append(f"entry {number}: {error}")
    return approved, faults


def on_devices(found: Told, tokens: Sequence[Token]) -> tuple[list[str], list[str]]:
    """What devices hold by now otherwise than was recorded, and which are silent. Raises DeviceError, StoreError."""
    looked, faults = each(tokens), []
    for one, keys in looked.found:
        there = steps.held(keys)["fingerprints"]
        for label, recorded in found.recorded[one.machine]["fingerprints"].items():
            if there.get(label) != recorded:
                found_is = "another key" if label in there else "no key"
                faults.append(f"{one.machine}: found {found_is} {label}; wanted the one that was recorded")
    return [*looked.lacking, *faults], looked.silent
