"""What a drill that restores makes of what machines say, and how its report measures it (T-B10, C-BAK-04)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qhs.drill import held, plan, restoring
from qhs.drill.actions import Actions, Call, Evidence, UnmetError
from qhs.drill.ground import Database, Ground
from qhs.drill.journal import Done, Journal
from qhs.drill.known import ESTATE
from qhs.drill.page import page
from qhs.drill.report import DrillReport, report
from qhs.drill.runner import Runner
from qhs.drill.seal import Sealed
from qhs.drill.written import Gap, Written
from qhs.errors import UserError
from qhs.progress import silent
from qhs.twin.names import Twin
from stacks.model import Estate

AT = "2026-11-30T06:00:00.000000Z"
POINT = {
    "wrong": "", "at": AT, "now": 1796018400.5, "store": "ndc",
    "earliest": "2026-11-29T00:00:00.000000Z", "latest": "2026-11-30T07:00:00.000000Z",
}  # fmt: skip
CONTENTS = {"databases": 3, "tables": 9, "rows": 700, "same": 8, "changed": 1, "marks": 4, "faults": []}
TOLD = {
    "began": 1796018401.0, "ended": 1796018441.0, "faults": [], "store": "ndc", "bytes": 50 << 20, "reached": AT,
    "short": 12.5, "seconds": {"choose": 9.0, "fetch": 20.0, "replay": 7.25, "compare": 1.0}, "contents": CONTENTS,
}  # fmt: skip
LEFT: dict[str, list[str]] = {"qhdc-db1": [], "qhdc-db2": []}


@dataclass(frozen=True)
class Machines(Ground):
    """Machines that answer as told, and remember what they were asked."""

    says: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def databases(self, *sites: str) -> dict[str, Database]:
        return {name: Database(wrong="", writable=name == "qhdc-db2") for site in sites for name in self.machines(site)}

    def told(self, names: Iterable[str], *words: str) -> dict[str, Any]:
        self.asked.append((*names, *words))
        given = {"point": POINT, "restore": TOLD, "left": [], "stop": []} | self.says
        return dict.fromkeys(names, given[words[0]])


def ground(estate: Estate, at: str = "", found: dict[str, dict[str, Any]] | None = None, **says: Any) -> Machines:
    known = {"choose-point": POINT | {"machine": "qhdc-db2"}} if found is None else found
    return Machines(estate, Twin("one"), "qhdc", "ndc", found=lambda action: known.get(action, {}), at=at, says=says)


def asked(on: Machines, action: str) -> Evidence:
    site = "old" if ESTATE.known[action].of_site else None
    return ESTATE.known[action].run(on, Call(do=action, site=site, within=1))


def test_the_member_that_takes_writes_chooses_the_point_unless_one_is_asked_for(estate: Estate) -> None:
    at_random = asked(ground(estate), "choose-point").facts
    assert (at_random["machine"], at_random["at"], at_random["random"]) == ("qhdc-db2", AT, True)
    own = "2026-11-29T12:00:00.000000Z"
    given = asked(ground(estate, own), "choose-point").facts
    assert (given["at"], given["random"]) == (own, False)


@pytest.mark.parametrize("at", ["2026-11-28T23:59:59.999999Z", "2026-11-30T07:00:00.000001Z"])
def test_a_point_that_no_copy_can_give_back_is_refused(at: str, estate: Estate) -> None:
    with pytest.raises(UserError, match=f"found the point {at}; wanted one from {POINT['earliest']} to"):
        asked(ground(estate, at), "choose-point")


def test_a_machine_without_a_copy_is_asked_again(estate: Estate) -> None:
    with pytest.raises(UnmetError, match="there is no copy since writes came here"):
        asked(ground(estate, point={"wrong": "there is no copy since writes came here"}), "choose-point")


def test_the_restore_that_is_asked_for_is_this_drills_at_that_machine(estate: Estate) -> None:
    on = ground(estate)
    facts = asked(on, "restore").facts
    assert on.asked == [("qhdc-db2", "restore", AT, "1796018400.5")]
    assert (facts["restored_seconds"], facts["short_seconds"]) == (27.25, 12.5)


def test_one_that_has_not_ended_is_waited_for_and_one_that_is_wrong_has_failed(estate: Estate) -> None:
    with pytest.raises(UnmetError, match="under way"):
        asked(ground(estate, restore={"ended": None}), "restore")
    with pytest.raises(UserError, match="not as it should be: laws: the table is not there"):
        asked(ground(estate, restore=TOLD | {"faults": ["laws: the table is not there: a.b"]}), "restore")


@pytest.mark.parametrize("none", ["tables", "same", "marks"])
def test_what_compared_nothing_shows_nothing(none: str, estate: Estate) -> None:
    assert asked(ground(estate, found={"restore": {"contents": CONTENTS}}), "restored-agrees").facts["rows"] == 700
    with pytest.raises(UserError, match="found nothing to compare"):
        asked(ground(estate, found={"restore": {"contents": CONTENTS | {none: 0}}}), "restored-agrees")


@pytest.mark.parametrize("action", ["nothing-left", "stop-restore"])
def test_what_is_left_is_named(action: str, estate: Estate) -> None:
    assert asked(ground(estate), action).facts == {"left": LEFT}
    with pytest.raises(UnmetError, match="found /var/lib/qhs-backup/restore at qhdc-db1"):
        asked(ground(estate, left=["/var/lib/qhs-backup/restore"]), action)


def test_a_point_is_a_time_with_its_offset() -> None:
    assert restoring.point("2026-11-30T13:00:00+07:00") == AT
    for wrong in ("2026-11-30T13:00:00", "yesterday", ""):
        with pytest.raises(UserError, match="wanted a time with its offset"):
            restoring.point(wrong)


class Quiet:
    """A client outside whom nothing keeps from writing."""

    def start(self) -> None:
        pass

    goes_on = leave = start

    def stop(self) -> Written:
        now = datetime.now(UTC)
        return Written(rows=100, gap=Gap(after=now, until=now, over=True))


def drilled(estate: Estate, folder: Path, monkeypatch: pytest.MonkeyPatch, **says: Any) -> Journal:
    """The plan as it is, on machines that answer as told."""
    monkeypatch.setattr(held, "_commit", lambda: "0" * 40)
    script = plan.read("restore", ESTATE, estate.catalogue.tiers)
    journal = Journal.begin(folder / "run", script.digest, held.began(estate, script, "qhdc", "ndc"))
    on = Machines(
        estate, Twin("one"), "qhdc", "ndc", found=lambda action: journal.found(script.plan, action), says=says
    )
    known = dict(ESTATE.known)
    for name, facts in (("one-primary", {"primary": "qhdc"}), ("clocks-agree", {"off": 0})):
        known[name] = type(known[name])(lambda *_, f=facts: Evidence.of("so", **f), False, False, "", False)
    Runner(script.plan, Actions(known), on, Quiet(), journal, silent).run()
    return journal


def test_a_restore_is_measured_against_the_objectives_of_what_comes_back_from_copies_alone(
    estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = report(drilled(estate, tmp_path, monkeypatch))
    assert made.faults == []
    assert {one.tier for one in made.objectives} == {3, 4} & {one.tier for one in estate.catalogue.tenants.values()}
    assert {(one.rto_measured, one.rpo_measured, one.met) for one in made.objectives} == {(27.25, 12.5, True)}
    shown = page(Sealed(report=made, seal=None))
    assert "Nơi diễn tập / Held at" in shown and "qhdc → ndc" not in shown
    assert [*made.broken()] == []


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (
            {"seconds": {"fetch": 28_795.0, "replay": 5.5}},
            "found 28800.5 s until it was restored and 12.5 s of",
        ),
        (
            {"short": 3600.5},
            "found 27.25 s until it was restored and 3600.5 s of writes lost; wanted 28800 s and",
        ),
    ],
)
def test_one_that_is_too_slow_or_too_old_has_failed(
    late: dict[str, Any], said: str, estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = report(drilled(estate, tmp_path, monkeypatch, restore=TOLD | late))
    assert any(one.startswith(f"tier 3: {said}") for one in made.faults), made.faults
    assert not made.passed


def test_a_row_that_the_running_databases_lose_meanwhile_fails_it(
    estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    found = Written(rows=100, gap=Gap(after=now, until=now, over=True), lost={"a": [7]})
    monkeypatch.setattr(Quiet, "stop", lambda _: found)
    assert report(drilled(estate, tmp_path, monkeypatch)).faults == ["a: found 1 rows lost: 7; wanted none"]


def test_one_that_failed_is_stopped_and_measures_nothing(
    estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: DrillReport = report(drilled(estate, tmp_path, monkeypatch, restore=TOLD | {"faults": ["a row is lost"]}))
    assert [one.undone for one in made.steps] == [False, True, False, False]
    assert {one.rto_measured for one in made.objectives} == {None}
    assert any("a row is lost" in one for one in made.faults)
    assert not any(isinstance(one.event, Done) and one.event.step == "contents" for one in made.journal)
