"""What a drill that has a copy serve in a bubble makes of what machines say; how its report is measured (T-B01)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from qhs.drill import held, plan
from qhs.drill.actions import Actions, Call, Evidence, UnmetError
from qhs.drill.ground import Database, Ground
from qhs.drill.journal import Journal
from qhs.drill.known import ESTATE
from qhs.drill.page import page
from qhs.drill.report import report
from qhs.drill.runner import Runner
from qhs.drill.seal import Sealed
from qhs.drill.written import Gap, Written
from qhs.errors import UserError
from qhs.inventory import variables
from qhs.progress import silent
from qhs.twin.names import Twin
from stacks.model import Estate, bubble

BEGAN = 1796018401.0
CONTENTS = {"databases": 3, "tables": 9, "rows": 700, "same": 8, "changed": 1, "marks": 4, "faults": []}
COPIED = {
    "bytes": 50 << 20, "fetch": 9.5, "at": 1796018420.0, "reached": 1796018419.25, "contents": CONTENTS, "serves": True,
}  # fmt: skip
SEGMENTS = {"data": "192.0.2.6", "bau-cu": "192.0.2.10"}
LEFT: list[str] = []


def state(estate: Estate, **otherwise: Any) -> dict[str, Any]:
    """Of a bubble that is all right."""
    tenants = {
        name: {
            "databases": {one: {"said": "", "tables": 2} for one in own.databases},
            "buckets": {one: {"said": "", "objects": 2} for one in own.buckets},
            "done": BEGAN + 30,
            "tries": {"10.20.80.9:5432": "nothing"},
        }
        for name, own in bubble.tenants(estate, "ndc").items()
    }
    return {
        "began": BEGAN, "made": {"counted": 1, "segments": SEGMENTS}, "copied": COPIED, "objects": {},
        "served": {"seconds": 41.5}, "rounds": 3, "refused": 90, "tenants": tenants, "faults": [],
    } | otherwise  # fmt: skip


@dataclass(frozen=True)
class Machines(Ground):
    """Machines that answer as told, and remember what they were asked."""

    says: dict[str, Any] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=lambda: {"ndc-db1": "standby_leader", "ndc-db2": "replica"})
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def databases(self, *sites: str) -> dict[str, Database]:
        return {name: Database(wrong="", role=self.roles[name]) for site in sites for name in self.machines(site)}

    def told(self, names: Iterable[str], *words: str) -> dict[str, Any]:
        self.asked.append((*names, *words))
        kept = {"kept": True, "state": self.says.get("state", state(self.estate))}
        given = {"bubble": kept, "bubble-begin": kept, "bubble-counted": 0, "bubble-left": LEFT, "bubble-end": LEFT}
        return dict.fromkeys(names, (given | self.says)[words[0]])


def ground(estate: Estate, **says: Any) -> Machines:
    raised = {"raise-bubble": {"machine": "ndc-db2", "began": BEGAN}}
    return Machines(estate, Twin("one"), "qhdc", "ndc", found=lambda action: raised.get(action, {}), says=says)


def asked(on: Machines, action: str) -> Evidence:
    return ESTATE.known[action].run(on, Call(do=action, site="new" if ESTATE.known[action].of_site else None, within=1))


def test_it_is_made_at_a_copy_that_nobody_follows_from_if_that_may_be(estate: Estate) -> None:
    on = ground(estate, bubble={"kept": False, "state": None})
    assert asked(on, "raise-bubble").facts["machine"] == "ndc-db2"
    alone = ground(estate, bubble={"kept": False, "state": None})
    alone.roles["ndc-db2"] = "standby_leader"
    assert asked(alone, "raise-bubble").facts["machine"] == "ndc-db1"
    assert [words[-1] for words in on.asked] == ["bubble", "bubble-begin"]


def test_one_that_is_kept_already_is_gone_on_with_where_it_is(estate: Estate) -> None:
    assert asked(ground(estate), "raise-bubble").facts["machine"] == "ndc-db1"


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        (None, UnmetError, "found the networks at ndc-db2 not made yet"),
        ({"counted": 0, "segments": SEGMENTS}, UserError, "counting nothing of what left the bubble"),
    ],
)
def test_networks_that_are_not_there_or_not_counted_show_nothing(
    made: Any, error: type[Exception], said: str, estate: Estate
) -> None:
    on = ground(estate, bubble={"kept": False, "state": None})
    on.says["bubble-begin"] = {"kept": True, "state": state(estate, made=made)}
    with pytest.raises(error, match=said):
        asked(on, "raise-bubble")


WAITS = {
    "nothing said": ("serve-copy", {"state": None}, "found the bubble at ndc-db2 beginning"),
    "not copied": ("serve-copy", {"copied": None, "served": None}, "not serving yet"),
    "not worked": ("tenants-work", {"tenants": {}}, "without what is theirs at ndc-db2"),
    "too few rounds": ("bubble-isolated", {"rounds": 2}, "found 2 rounds of tries"),
    "nothing tried": ("bubble-isolated", {"refused": 0}, "0 packets kept back"),
}


@pytest.mark.parametrize("case", WAITS)
def test_what_is_not_so_yet_is_waited_for(case: str, estate: Estate) -> None:
    action, otherwise, said = WAITS[case]
    found = None if otherwise == {"state": None} else state(estate, **otherwise)
    with pytest.raises(UnmetError, match=said):
        asked(ground(estate, state=found), action)


@pytest.mark.parametrize("none", ["tables", "same", "marks"])
def test_a_copy_that_compared_nothing_shows_nothing(none: str, estate: Estate) -> None:
    with pytest.raises(UserError, match="found nothing to compare"):
        asked(ground(estate, state=state(estate, copied=COPIED | {"contents": CONTENTS | {none: 0}})), "serve-copy")


def test_a_copy_is_measured_from_the_beginning_and_by_the_last_change_in_it(estate: Estate) -> None:
    facts = asked(ground(estate), "serve-copy").facts
    assert (facts["served_seconds"], facts["age"]) == (41.5, 0.75)


def test_an_application_that_could_not_write_or_tried_nobody_is_named(estate: Estate) -> None:
    on = state(estate)
    on["tenants"]["bau-cu"]["databases"]["bau-cu"]["said"] = "permission denied"
    with pytest.raises(UnmetError, match="found bau-cu without what is theirs"):
        asked(ground(estate, state=on), "tenants-work")
    on = state(estate)
    on["tenants"]["bau-cu"]["buckets"]["ho-so-bau-cu"]["said"] = "403"
    with pytest.raises(UnmetError, match="found bau-cu without what is theirs"):
        asked(ground(estate, state=on), "tenants-work")
    on = state(estate)
    on["tenants"]["bau-cu"]["tries"] = {}
    with pytest.raises(UserError, match="found bau-cu trying nobody"):
        asked(ground(estate, state=on), "tenants-work")


def test_one_packet_that_came_out_is_too_many(estate: Estate) -> None:
    assert asked(ground(estate), "bubble-isolated").facts["counted"] == 0
    with pytest.raises(UserError, match="found 1 packets from the bubble at ndc-db2; wanted none"):
        asked(ground(estate, **{"bubble-counted": 1}), "bubble-isolated")


@pytest.mark.parametrize("action", ["serve-copy", "tenants-work", "bubble-isolated"])
def test_a_bubble_that_is_gone_or_another_or_has_faults_is_none_of_this_drill(action: str, estate: Estate) -> None:
    with pytest.raises(UserError, match="found no bubble kept at ndc-db2"):
        asked(ground(estate, bubble={"kept": False, "state": None}), action)
    with pytest.raises(UserError, match="another bubble"):
        asked(ground(estate, state=state(estate, began=BEGAN + 1)), action)
    with pytest.raises(UserError, match="not as it should be: a fault"):
        asked(ground(estate, state=state(estate, faults=["a fault"])), action)


@pytest.mark.parametrize("action", ["no-bubble", "take-bubble-away"])
def test_what_is_left_is_named(action: str, estate: Estate) -> None:
    assert asked(ground(estate), action).facts == {"left": {"ndc-db1": [], "ndc-db2": []}}
    with pytest.raises(UnmetError, match="found inet qhs_bubble at ndc-db1"):
        asked(ground(estate, **{"bubble-left": ["inet qhs_bubble"]}), action)


def test_its_networks_are_nobodys_else_and_hold_its_applications(estate: Estate) -> None:
    own = ip_network(bubble.NETWORK)
    places = [one.prefix.ipv4 for one in estate.places.values() if one.prefix and one.prefix.ipv4.prefixlen]
    assert places and not any(own.overlaps(one) for one in places)
    for site in ("qhdc", "ndc"):
        assert {"bau-cu", "app-quoc-hoi", "q-cabinet"} <= bubble.tenants(estate, site).keys()
        assert 4 * (len(bubble.tenants(estate, site)) + 2) <= own.num_addresses


def test_a_machine_is_told_to_try_the_databases_and_stores_of_every_site(estate: Estate) -> None:
    told = variables(estate, estate.machines["ndc-db1"])["bubble_production"]
    assert len(told) == len({tuple(one) for one in told}) >= 5
    assert told[0] == [estate.machines["ndc-db1"].addresses[0], 5432]
    assert {port for _, port in told} == {5432, 443}


class Client:
    """One outside, who wrote as told."""

    def __init__(self, seconds: float, **otherwise: Any) -> None:
        self._gap, self._otherwise = seconds, otherwise

    def start(self) -> None:
        pass

    goes_on = leave = start

    def stop(self) -> Written:
        now = datetime.now(UTC)
        gap = Gap(after=now, until=now + timedelta(seconds=self._gap), over=True)
        return Written(rows=100, gap=gap, **self._otherwise)


def drilled(estate: Estate, folder: Path, monkeypatch: pytest.MonkeyPatch, client: Client, **says: Any) -> Journal:
    """The plan as it is, on machines that answer as told."""
    monkeypatch.setattr(held, "_commit", lambda: "0" * 40)
    script = plan.read("test", ESTATE, estate.catalogue.tiers)
    journal = Journal.begin(folder / "run", script.digest, held.began(estate, script, "qhdc", "ndc"))
    on = Machines(
        estate, Twin("one"), "qhdc", "ndc", found=lambda action: journal.found(script.plan, action), says=says
    )
    known = dict(ESTATE.known)
    for name in ("one-primary", "clocks-agree", "replica-streams", "lag-within", "room"):
        so = Evidence.of("so", primary="qhdc")
        known[name] = type(known[name])(lambda *_, so=so: so, False, known[name].of_site, known[name].limit, False)
    Runner(script.plan, Actions(known), on, client, journal, silent).run()
    return journal


def test_a_drill_that_disturbed_nobody_has_passed_at_the_other_site(
    estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = report(drilled(estate, tmp_path, monkeypatch, Client(0.5)))
    assert (made.faults, made.place) == ([], "ndc")
    assert "Held at</dt><dd>ndc</dd>" in (shown := page(Sealed(report=made, seal=None)))
    assert made.objectives == [] and "Objectives" not in shown
    assert [*made.broken()] == []


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (Client(10.5), "found 10.500 s between two rows of the client outside; wanted 10 s at most"),
        (Client(0.5, failed={"web": 3}), "web: found 3 tries that failed; wanted none: writes stay where they are"),
        (Client(0.5, lost={"web": [4, 5]}), "web: found 2 rows lost: 4, 5; wanted none"),
    ],
)
def test_one_that_disturbed_a_client_outside_has_failed(
    client: Client, said: str, estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report(drilled(estate, tmp_path, monkeypatch, client)).faults == [said]


def test_one_out_of_which_something_came_has_failed_and_is_taken_away(
    estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = report(drilled(estate, tmp_path, monkeypatch, Client(0.5), **{"bubble-counted": 7}))
    assert {one.name: one.state for one in made.steps}["isolated"] == "failed"
    assert [one.name for one in made.steps if one.undone] == ["raise"]
    assert any("found 7 packets from the bubble" in one for one in made.faults)


def test_clients_are_undisturbed_by_what_moves_nothing_alone(estate: Estate) -> None:
    text = plan.read("switchover", ESTATE, estate.catalogue.tiers).text + "undisturbed: 10\n"
    with pytest.raises(Exception, match="clients undisturbed by a plan that begins active"):
        plan.of("switchover", text, ESTATE, estate.catalogue.tiers, Path("switchover.yaml"))
