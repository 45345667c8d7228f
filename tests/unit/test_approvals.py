"""What cannot be undone takes several people: the one verifier of approvals, and `qhs approve` (T-A11, C-HSM-03)."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qhs.twin.sshkey import make, public
from stacks.approvals import NAMESPACE, Approval, ApprovalError, Approvers, Statement

NOW = datetime.now(UTC).replace(microsecond=0)
URN = "urn:pulumi:twin.ndc.signing::qhs::qhs:signing:Site$qhs:signing:Key::qlvb.qlvb.ndc"
PEOPLE = ("chu-nhiem", "pho-chu-nhiem", "attt")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each in a home of its own."""
    return {name: make(tmp_path_factory.mktemp(name) / "key") for name in (*PEOPLE, "stranger")}


@pytest.fixture
def approvers(tmp_path: Path, keys: dict[str, Path]) -> Approvers:
    signers = tmp_path / "approvers"
    lines = [f'{name} namespaces="{NAMESPACE}" {public(keys[name])}' for name in PEOPLE]
    signers.write_text("\n".join(lines) + "\n")
    folder = tmp_path / "approvals"
    folder.mkdir()
    return Approvers(folder=folder, signers=signers, quorum=2)


def statement(**change: object) -> Statement:
    given = {
        "action": "delete",
        "subject": URN,
        "reason": "khóa đã được thay",
        "made": NOW - timedelta(minutes=1),
        "expires": NOW + timedelta(hours=1),
    }
    return Statement.model_validate(given | change)


def approval(keys: dict[str, Path], *names: str, **change: object) -> Approval:
    found = Approval(statement=statement(**change))
    for name in names:
        found = found.signed(name, keys[name])
    return found


def test_enough_of_those_that_are_known_approve(approvers: Approvers, keys: dict[str, Path]) -> None:
    given = approval(keys, "chu-nhiem", "attt")
    assert approvers.judge(given) == {"chu-nhiem", "attt"}
    (approvers.folder / "a.json").write_text(given.model_dump_json())
    assert approvers.require("delete", URN) == given


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "found nobody who approved; wanted 2"),
        (("attt",), "found attt who approved; wanted 2"),
        (("attt", "stranger"), "found attt who approved; wanted 2"),
    ],
    ids=["nobody", "one", "one-and-a-stranger"],
)
def test_one_less_is_refused(approvers: Approvers, keys: dict[str, Path], names: tuple[str, ...], said: str) -> None:
    with pytest.raises(ApprovalError, match=said):
        approvers.judge(approval(keys, *names))


def test_one_person_under_two_names_is_one(approvers: Approvers, keys: dict[str, Path]) -> None:
    text = approvers.signers.read_text()
    approvers.signers.write_text(f'{text}again namespaces="{NAMESPACE}" {public(keys["attt"])}\n')
    twice = approval(keys, "attt").signed("again", keys["attt"])
    with pytest.raises(ApprovalError, match="wanted 2"):
        approvers.judge(twice)


def test_the_signature_of_another_does_not_count(approvers: Approvers, keys: dict[str, Path]) -> None:
    forged = approval(keys, "attt").signed("chu-nhiem", keys["attt"])
    with pytest.raises(ApprovalError, match="found attt who approved"):
        approvers.judge(forged)


@pytest.mark.parametrize(
    "change",
    [{"subject": URN.replace("qlvb", "tthc")}, {"reason": "another"}, {"expires": NOW + timedelta(hours=2)}],
    ids=["subject", "reason", "end"],
)
def test_what_was_changed_after_it_was_signed_does_not_count(
    approvers: Approvers, keys: dict[str, Path], change: dict[str, object]
) -> None:
    changed = approval(keys, "chu-nhiem", "attt").model_copy(update={"statement": statement(**change)})
    with pytest.raises(ApprovalError, match="found nobody who approved"):
        approvers.judge(changed)


def test_a_signature_for_something_else_does_not_count(
    approvers: Approvers, keys: dict[str, Path], tmp_path: Path
) -> None:
    given = approval(keys, "attt")
    (tmp_path / "text").write_bytes(given.statement.text())
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", keys["chu-nhiem"], tmp_path / "text"], check=True
    )
    other = {**given.signatures, "chu-nhiem": (tmp_path / "text.sig").read_text()}
    with pytest.raises(ApprovalError, match="found attt who approved"):
        approvers.judge(given.model_copy(update={"signatures": other}))


@pytest.mark.parametrize("minutes", [-2, 61], ids=["before", "after"])
def test_it_is_good_in_its_time_alone(approvers: Approvers, keys: dict[str, Path], minutes: int) -> None:
    with pytest.raises(ApprovalError, match="within"):
        approvers.judge(approval(keys, "chu-nhiem", "attt"), NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    "change",
    [
        {"expires": NOW + timedelta(hours=25)},
        {"expires": NOW - timedelta(hours=1)},
        {"action": "paint"},
        {"reason": ""},
    ],
    ids=["too-long", "backwards", "unknown", "no-reason"],
)
def test_what_nobody_may_approve_is_no_statement(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        statement(**change)


def test_none_that_names_it_is_said_with_the_way_out(approvers: Approvers, keys: dict[str, Path]) -> None:
    (approvers.folder / "another.json").write_text(
        approval(keys, "chu-nhiem", "attt", subject="urn:x").model_dump_json()
    )
    with pytest.raises(ApprovalError, match=r"found none in .*; wanted an approval that names it, signed by 2 of"):
        approvers.require("delete", URN)
    (approvers.folder / "broken.json").write_text("{")
    with pytest.raises(ApprovalError, match=r"broken.json: .*found no approval"):
        approvers.require("delete", URN)


def test_the_command_takes_two_people_from_a_refusal_to_an_approval(tmp_path: Path, keys: dict[str, Path]) -> None:
    """Each signs as a process of their own, from a home of their own."""
    env = {**os.environ, "QHS_TWIN": "unit", "XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}

    def qhs(*words: str, code: int = 0) -> str:
        command = [str(Path(sys.executable).with_name("qhs")), "approve", *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout.strip()

    for name in PEOPLE:
        qhs("approver", name, "--key", str(keys[name].with_suffix(".pub")))
    file = qhs("new", "delete", URN, "--reason", "khóa đã được thay")
    qhs("check", file, code=2)
    qhs("sign", file, "--as", "attt", "--key", str(keys["attt"]))
    qhs("check", file, code=2)
    qhs("sign", file, "--as", "chu-nhiem", "--key", str(keys["chu-nhiem"]))
    assert qhs("check", file) == "attt, chu-nhiem"
    qhs("new", "paint", URN, "--reason", "x", code=1)
