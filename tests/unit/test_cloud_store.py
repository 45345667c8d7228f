"""A store given back to its members, by their own program, and cut off wherever that may be."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import qhs_etcd_snapshots as program
from typer.testing import CliRunner

from qhs.cloud import cli, machines
from qhs.cloud import store as module
from qhs.cloud.restore import store
from qhs.cloud.store import PROGRAM, REVISION, SERVER, SERVES, UNITS, Snapshot, Store
from qhs.errors import UserError
from qhs.progress import silent
from qhs.twin.names import Twin
from stacks.model import load

NAME = "20260101T000000Z.db"
MEMBERS = ("cp1", "cp2", "cp3")
TAKEN = 7
"""The revision of the snapshot."""
OLD, NEW = "as it is", "as the snapshot has it"


class CutOff(BaseException):
    """The run ends here, as a killed one does."""


class Machines:
    """Members whose data is a file, changed by the program that the role lays there."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._patch = folder, patch
        self.said: list[str] = []
        self.left, self.fails = -1, ""
        self.up = {name: {SERVER, *UNITS} for name in MEMBERS}
        self.received: dict[str, bytes] = {}
        self.revisions = dict.fromkeys(MEMBERS, TAKEN)
        self.bumps: dict[str, int] = {}
        for name in MEMBERS:
            (folder / name / "member").mkdir(parents=True)
            (folder / name / "member/data").write_text(OLD)

    def run(self, _: Twin, machine: str, *words: str, given: bytes = b"") -> bytes:
        if self.left == 0:
            raise CutOff
        self.left -= 1
        self.said.append(f"{machine} {' '.join(words)}")
        match words:
            case ["systemctl", "stop", *units]:
                self.up[machine] -= set(units)
            case ["systemctl", "start", *units]:
                if self.fails in units and self.data(machine) == NEW:
                    raise UserError(f"{machine}: {self.fails} does not start", "none")
                self.up[machine] |= set(units)
            case ["systemctl", "is-active", unit]:
                self._wanted(machine, unit)
            case _ if tuple(words) == SERVES:
                self._wanted(machine, SERVER)
            case _ if tuple(words) == REVISION:
                self._wanted(machine, SERVER)
                return f"{self.revisions[machine]}\n".encode()
            case ["cat", _]:
                return b"content"
            case [one, "receive", _] if one == PROGRAM:
                self.received[machine] = given
            case [one, "prepare", name, bump] if (one, name) == (PROGRAM, NAME):
                self.bumps[machine] = int(bump)
                self._verb(machine, "prepare")
            case [one, verb] if one == PROGRAM:
                self._verb(machine, verb)
            case _:
                raise AssertionError(words)
        return b""

    def data(self, machine: str) -> str:
        return (self._folder / machine / "member/data").read_text()

    def kept(self, machine: str) -> bool:
        return (self._folder / machine / "member.before").exists()

    def _wanted(self, machine: str, *units: str) -> None:
        if not self.up[machine] >= set(units):
            raise UserError(f"{machine}: it does not run", "none")

    def _verb(self, machine: str, verb: str) -> None:
        own = self._folder / machine
        if verb == "prepare":
            (own / "restored/member").mkdir(parents=True, exist_ok=True)
            (own / "restored/member/data").write_text(NEW)
            return
        if verb in ("swap", "back"):
            assert SERVER not in self.up[machine], "data is never changed below a server that runs"
        for name, path in {"DATA": "member", "BEFORE": "member.before", "RESTORED": "restored"}.items():
            self._patch.setattr(program, name, own / path)
        try:
            getattr(program, verb)()
        except program.UnfitError as error:
            raise UserError(str(error), "none") from None
        if verb == "swap":
            self.revisions[machine] = TAKEN + self.bumps[machine]


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    made = Machines(tmp_path, monkeypatch)
    patched(monkeypatch, made)
    return made


def patched(patch: pytest.MonkeyPatch, made: Machines) -> None:
    def everywhere(twin: Twin, names: Any, *words: str) -> None:
        for name in names:
            made.run(twin, name, *words)

    patch.setattr(machines, "run", made.run)
    patch.setattr(machines, "everywhere", everywhere)
    patch.setattr(module, "PATIENCE", 0)


def give_back() -> None:
    snapshot = Snapshot("cp2", NAME, datetime.now(UTC), TAKEN)
    Store(Twin("any"), "qhdc", MEMBERS).give_back(snapshot, silent)


def test_all_members_make_their_data_of_one_snapshot_before_anything_stops(there: Machines) -> None:
    give_back()
    assert [there.data(name) for name in MEMBERS] == [NEW] * 3
    assert there.received == {"cp1": b"content", "cp3": b"content"}
    stopped = there.said.index(f"cp1 systemctl stop {' '.join(reversed(UNITS))} {SERVER}")
    assert there.said.index(f"cp3 {PROGRAM} prepare {NAME} {there.bumps['cp3']}") < stopped
    assert not any(map(there.kept, MEMBERS))
    assert all(there.up[name] == {SERVER, *UNITS} for name in MEMBERS)


def test_no_revision_comes_twice_however_often_a_snapshot_is_given_back(
    there: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All members have the same; the third time none of them says which there are."""
    now = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    for number, alone in enumerate(([], [], MEMBERS)):
        monkeypatch.setattr(time, "time_ns", lambda number=number: int(now + 10 * number) * 10**9)
        seen = there.revisions["cp1"] = there.revisions["cp1"] + 5000
        for name in alone:
            there.up[name].clear()
        give_back()
        assert len(set(there.revisions.values())) == 1
        assert there.revisions["cp1"] > seen, number


def test_what_the_members_know_is_enough_where_the_clock_is_wrong(
    there: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them is behind, and another one does not answer."""
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    there.revisions = {"cp1": 100, "cp2": 5_000_000, "cp3": 9_000_000}
    there.up["cp3"].clear()
    give_back()
    assert set(there.revisions.values()) == {5_000_000 + module.AHEAD}


@pytest.mark.parametrize("fails", [SERVER, UNITS[0]])
def test_where_it_does_not_come_what_was_before_is_there_again(there: Machines, fails: str) -> None:
    there.fails = fails
    with pytest.raises(UserError, match=f"{fails} does not start"):
        give_back()
    assert [there.data(name) for name in MEMBERS] == [OLD] * 3
    assert all(there.up[name] == {SERVER, *UNITS} for name in MEMBERS)


def test_wherever_it_is_cut_off_a_second_run_ends_it_and_nothing_is_lost_before(
    there: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_back()
    for number in range(len(there.said)):
        again = Machines(tmp_path / str(number), monkeypatch)
        patched(monkeypatch, again)
        again.left = number
        with pytest.raises(CutOff):
            give_back()
        for name in MEMBERS:
            served = again.up[name] == {SERVER, *UNITS}
            assert served or again.kept(name) or again.data(name) == OLD, (number, name)
        again.left = -1
        give_back()
        assert [again.data(name) for name in MEMBERS] == [NEW] * 3, number
        assert not any(map(again.kept, MEMBERS)), number


def test_the_newest_of_all_members_is_taken_and_one_that_has_none_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(_: Twin, machine: str, *words: str) -> bytes:
        if machine == "cp1":
            raise UserError("cp1: found no snapshot", "none")
        return json.dumps({"name": f"of-{machine}", "seconds": int(machine[-1]), "revision": 5}).encode()

    monkeypatch.setattr(machines, "run", run)
    assert Store(Twin("any"), "qhdc", MEMBERS).newest().name == "of-cp3"
    with pytest.raises(UserError, match=r"found no snapshot that verifies \(cp1: found no snapshot\)"):
        Store(Twin("any"), "qhdc", ("cp1",)).newest()


def test_what_fails_on_a_machine_is_said_with_its_last_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machines.access, "config", lambda _: tmp_path)
    monkeypatch.setattr(machines.inside, "command", lambda _, argv: ["sh", "-c", "echo first; echo last >&2; exit 3"])
    with pytest.raises(UserError, match="cp1: some words: last"):
        machines.run(Twin("any"), "cp1", "some", "words")
    monkeypatch.setattr(machines.inside, "command", lambda _, argv: ["sh", "-c", "echo why; exit 2"])
    with pytest.raises(UserError, match="words: why"):
        machines.run(Twin("any"), "cp1", "words")
    monkeypatch.setattr(machines.inside, "command", lambda _, argv: ["cat"])
    assert machines.run(Twin("any"), "cp1", "words", given=b"\0bytes") == b"\0bytes"


def test_whoever_does_not_say_yes_is_told_what_would_be_lost_and_nothing_is_done(
    there: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = Snapshot("ndc-cp1", NAME, datetime.now(UTC) - timedelta(minutes=20), 7)
    monkeypatch.setattr(Store, "newest", lambda _: newest)
    done = CliRunner().invoke(cli.app, ["restore", "ndc"], input="n\n")
    assert done.exit_code == 1
    assert f"goes back to {NAME}, 20 minutes old" in done.output
    assert there.said == []


def test_a_site_without_a_cluster_names_those_that_have_one() -> None:
    with pytest.raises(UserError, match="found the site hall; wanted one with a cluster: qhdc, ndc"):
        store(load("twin"), Twin("any"), "hall")
    assert store(load("twin"), Twin("any"), "ndc").members == ("ndc-cp1",)
