"""What a drill's questions make of the answers: each reason not to begin, and when a site may be promoted (T-B05)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qhs import trust_access
from qhs.drill.actions import Call, Evidence, UnmetError
from qhs.drill.asking import PROMOTE, promotion
from qhs.drill.ground import Database, Ground
from qhs.drill.known import ESTATE
from qhs.errors import UserError
from qhs.lease.cli import LeaseReport
from qhs.twin.names import Twin
from qhs.twin.sshkey import make
from stacks import signatures
from stacks.approvals import NAMESPACE, Approval, Statement
from stacks.model import Estate

OLD, NEW = "qhdc", "ndc"


def leads(position: int = 100) -> Database:
    return Database(wrong="", role="primary", state="running", writable=True, position=position, free_mib=900)


def copy(role: str = "replica", **other: Any) -> Database:
    given = {"wrong": "", "role": role, "state": "running", "streams": True, "position": 100, "free_mib": 900}
    return Database.model_validate(given | other)


WELL = {
    "qhdc-db1": leads(), "qhdc-db2": copy(),
    "ndc-db1": copy("standby_leader"), "ndc-db2": copy(),
}  # fmt: skip


@dataclass(frozen=True)
class Answers(Ground):
    """An estate that answers as told."""

    stands: dict[str, Database] = field(default_factory=dict)
    sees: dict[str, bool] = field(default_factory=dict)
    """By vantage point whether the old site answers there."""
    cut_off: tuple[str, ...] = ()
    """Vantage points that no site answers."""
    active: str = OLD
    agreed: bool = True
    off: tuple[str, ...] = ()
    apart: float = 0
    tables: dict[str, dict[str, str]] = field(default_factory=dict)

    def databases(self, *sites: str) -> dict[str, Database]:
        return {name: (WELL | self.stands)[name] for site in sites for name in self.machines(site)}

    def seen(self, sites: Iterable[str]) -> dict[str, dict[str, bool]]:
        def answers(point: str, site: str) -> bool:
            return point not in self.cut_off and (site != OLD or self.sees.get(point, True))

        return {point: {site: answers(point, site) for site in sites} for point in ("hall", "outside")}

    def lease(self, without: str = "") -> LeaseReport:
        return LeaseReport(
            environment="twin",
            active=self.active,
            chosen=OLD,
            since="",
            seconds=9,
            agreed=self.agreed,
            members=[],
            code=0,
        )

    def powered(self, site: str) -> dict[str, bool]:
        return {name: name not in self.off for name in self.machines(site)}

    def clocks(self) -> dict[str, float]:
        return {"qhdc-db1": 0.0, "ndc-db1": self.apart}

    def told(self, names: Iterable[str], *words: str) -> dict[str, Any]:
        return {name: self.tables.get(name, {"mail/public.t": "1|5"}) for name in names}


def asked(ground: Ground, action: str, site: str | None = None, limit: float | None = None) -> Evidence:
    return ESTATE.known[action].run(ground, Call(do=action, site=site, limit=limit, within=1))


QUESTIONS: dict[str, tuple[Any, ...]] = {
    "both-sites-answer": ("both-sites-answer",),
    "one-primary": ("one-primary",),
    "replica-streams": ("replica-streams", "new"),
    "lag-within": ("lag-within", "new", 5),
    "clocks-agree": ("clocks-agree", None, 0.5),
    "room": ("room", "new", 512),
    "await-copy": ("await-copy", "new"),
    "await-writable": ("await-writable", "old"),
    "await-active": ("await-active", "old"),
    "contents-agree": ("contents-agree",),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_estate_that_is_well_is_evidence(question: str, estate: Estate) -> None:
    assert asked(Answers(estate, Twin("one"), OLD, NEW), *QUESTIONS[question]).facts


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "silent": ("both-sites-answer", {"sees": {"outside": False}}, "found no answer of qhdc from outside"),
    "dead": ("both-sites-answer", {"stands": {"ndc-db2": Database(wrong="gone")}}, "found no answer of ndc-db2: gone"),
    "two": ("one-primary", {"stands": {"ndc-db1": leads()}}, "found qhdc-db1, ndc-db1 that takes writes"),
    "none": ("one-primary", {"stands": {"qhdc-db1": copy()}}, "found no database that takes writes"),
    "elsewhere": ("one-primary", {"active": NEW}, "the lease with ndc"),
    "unknown": ("one-primary", {"stands": {"ndc-db2": Database(wrong="gone")}}, "no word of ndc-db2: gone"),
    "nobody": ("one-primary", {"agreed": False}, "wanted one, at its site"),
    "stopped": ("replica-streams", {"stands": {"ndc-db2": copy(streams=False)}}, "ndc-db2 that does not stream"),
    "apart": ("replica-streams", {"stands": {"ndc-db1": leads()}}, "found nobody leading the copies at ndc"),
    "stale": (
        "lag-within", {"stands": {"ndc-db2": copy(position=99, age=6.5)}},
        "found the copy at ndc 6.5 s old; wanted 5 s at most",
    ),
    "nobody-knows": (
        "lag-within", {"stands": {"ndc-db2": copy(position=99)}},
        "found ndc-db2 behind, and no change taken over; wanted 5 s at most",
    ),
    "clocks": ("clocks-agree", {"apart": 0.7}, "found clocks apart: ndc-db1 by 0.70 s; wanted 0.5 s at most"),
    "full": ("room", {"stands": {"ndc-db1": copy("standby_leader", free_mib=511)}}, "found room for 511 MiB at ndc-"),
    "behind": ("await-copy", {"stands": {"ndc-db2": copy(position=90)}}, "found copies behind: ndc-db2 by 10 bytes"),
    "read-only": ("await-writable", {"stands": {"qhdc-db1": copy()}}, "found no database at qhdc that takes writes"),
    "no-lease": ("await-active", {"active": ""}, "found the lease with nobody"),
    "differ": (
        "contents-agree", {"tables": {"ndc-db1": {"mail/public.t": "1|6"}}},
        "found 1 tables that differ: mail/public.t",
    ),
    "empty": ("contents-agree", {"tables": {"ndc-db1": {}, "qhdc-db1": {}}}, "found no table at either site"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_an_estate_that_is_not_well_is_refused_with_the_reason(fault: str, estate: Estate) -> None:
    question, wrong, said = FAULTS[fault]
    with pytest.raises(UnmetError) as error:
        asked(Answers(estate, Twin("one"), OLD, NEW, **wrong), *QUESTIONS[question])
    assert said in str(error.value)


def test_a_copy_that_lags_within_what_any_tier_may_lose_is_no_older_than_that(estate: Estate) -> None:
    """The least that a tier of those with a replica may lose, where it may lose anything, is 5 minutes."""
    stale = {"ndc-db2": copy(position=99, age=301)}
    with pytest.raises(UnmetError, match="wanted 300 s at most"):
        asked(Answers(estate, Twin("one"), OLD, NEW, stands=stale), "lag-within", "new", 900)


def test_a_machine_without_power_takes_no_writes(estate: Estate) -> None:
    gone = {"ndc-db2": Database(wrong="gone")}
    assert asked(Answers(estate, Twin("one"), OLD, NEW, stands=gone, off=("ndc-db2",)), "one-primary").facts


BLIND = {"neither": (), "hall": ("hall",), "outside": ("outside",), "both": ("hall", "outside")}
HELD = {"held": (OLD, True), "ran-out": ("", True), "nobody-knows": ("", False)}


@pytest.mark.parametrize("blind", BLIND)
@pytest.mark.parametrize("held", HELD)
def test_a_promotion_takes_two_vantage_points_or_a_lease_that_ran_out(
    blind: str, held: str, estate: Estate, own: Path
) -> None:
    sees = dict.fromkeys(BLIND[blind], False)
    active, agreed = HELD[held]
    ground = Answers(estate, Twin("one"), OLD, NEW, sees=sees, active=active, agreed=agreed)
    if blind == "both" or held == "ran-out":
        assert asked(ground, "may-promote").found.startswith("nothing can be written at qhdc")
        return
    with pytest.raises(UnmetError, match="qhs approve new promote ndc-instead-of-qhdc"):
        asked(ground, "may-promote")


def test_who_is_cut_off_itself_is_no_witness_that_a_site_is_gone(estate: Estate, own: Path) -> None:
    nowhere = {"hall": False, "outside": False}
    ground = Answers(estate, Twin("one"), OLD, NEW, sees=nowhere)
    assert asked(ground, "await-gone", "old").found == "qhdc answers neither from hall nor from outside"
    alone = Answers(estate, Twin("one"), OLD, NEW, sees=nowhere, cut_off=("outside",))
    with pytest.raises(UnmetError, match="found qhdc answering from nowhere, as hall can tell; wanted no answer at 2"):
        asked(alone, "await-gone", "old")
    with pytest.raises(UnmetError, match="found the old site qhdc unreachable from hall and the lease with qhdc"):
        asked(alone, "may-promote")


def test_a_promotion_without_evidence_takes_the_signatures_of_several(
    estate: Estate, own: Path, tmp_path: Path
) -> None:
    ground = Answers(estate, Twin("one"), OLD, NEW)
    approvers = trust_access.approvers(ground.twin, estate)
    keys = {name: make(tmp_path / name) for name in ("duty-a", "duty-b")}
    lines = [signatures.line(name, NAMESPACE, key.with_suffix(".pub").read_text()) for name, key in keys.items()]
    approvers.signers.write_text("\n".join(lines) + "\n")
    now = datetime.now(UTC)
    approval = Approval(
        statement=Statement(
            action=PROMOTE,
            subject=promotion(ground),
            reason="both are blind",
            made=now,
            expires=now + timedelta(hours=1),
        )
    )
    for name, key in keys.items():
        with pytest.raises(UnmetError):
            asked(ground, "may-promote")
        approval = approval.signed(name, key)
        (approvers.folder / "one.json").write_text(approval.model_dump_json())
    found = asked(ground, "may-promote")
    assert found.found == "nothing can be written at qhdc: approved"
    assert found.facts["approval"] is not None


def test_a_site_whose_databases_are_silent_is_not_replaced_without_evidence(estate: Estate) -> None:
    silent = {"qhdc-db1": Database(wrong="no answer")}
    ground = Answers(estate, Twin("one"), OLD, NEW, stands=silent)
    with pytest.raises(UserError, match="promotion of ndc refused: found qhdc-db1: no answer"):
        asked(ground, "choose", "new")
