"""Ceremonies of tests: the example script with witnesses whose keys we have, and people who approve."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from qhs.hsm.ceremony.script import ACTION, MakeKey, Record, Script
from qhs.hsm.ceremony.transcript import Began, Done, Ended, Transcript
from qhs.twin.sshkey import make, public
from stacks.approvals import NAMESPACE, Approval, Approvers, Statement
from stacks.signatures import line

EXAMPLE = Path(__file__).parents[1] / "docs/ceremony.yaml"
WITNESSES = ("kiem-toan", "attt", "co-yeu")
APPROVERS = ("chu-nhiem", "pho-chu-nhiem", "chanh-van-phong")

type Keys = dict[str, Path]


def keys(folder: Path) -> Keys:
    """Of everybody, each in a home of their own."""
    return {name: make(folder / name / "key") for name in (*WITNESSES, *APPROVERS, "stranger")}


def written(folder: Path, own: Keys, **change: Any) -> Path:
    """The example with the keys of our witnesses, changed."""
    data = yaml.safe_load(EXAMPLE.read_text())
    data["witnesses"]["keys"] = {name: public(own[name]) for name in WITNESSES}
    path = folder / "script.yaml"
    path.write_text(yaml.safe_dump(data | change, allow_unicode=True, sort_keys=False))
    return path


def approvers(folder: Path, own: Keys) -> Approvers:
    """Three of whom two must approve; nobody has yet."""
    signers, approvals = folder / "approvers", folder / "approvals"
    signers.write_text("".join(f"{line(name, NAMESPACE, public(own[name]))}\n" for name in APPROVERS))
    approvals.mkdir()
    return Approvers(folder=approvals, signers=signers, quorum=2)


def transcript(script: Script, approval: Approval | None, at: datetime) -> Transcript:
    """Whole, with answers that are as expected; without an approval it is of a rehearsal."""
    token = script.token(rehearsal=approval is None)
    began = Began(script=script.text, token=token, approval=approval, rehearsed="0" * 64 if approval else None)
    found = Transcript.begun(script, began, at)
    own = {label: hashlib.sha256(f"{token} {label}".encode()).hexdigest() for label in script.labels}
    for number, step in enumerate(script.ceremony.steps, 1):
        answer = step.expect.model_dump()
        if isinstance(step, MakeKey):
            answer |= {"fingerprint": own[step.label], "algorithm": step.algorithm}
        if isinstance(step, Record):
            answer |= {"fingerprints": own}
        found = found.noted(Done(step=number, answers=dict.fromkeys(script.ceremony.devices, answer)), at)
    return found.noted(Ended(), at)


def approved(script: Script, own: Keys, names: Iterable[str], made: datetime | None = None) -> Approval:
    """By these, for an hour from `made`."""
    made = made or datetime.now(UTC) - timedelta(minutes=1)
    given = {"action": ACTION, "subject": script.subject, "reason": "thử", "made": made}
    found = Approval(statement=Statement.model_validate(given | {"expires": made + timedelta(hours=1)}))
    for name in names:
        found = found.signed(name, own[name])
    return found
