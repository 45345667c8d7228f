"""T-F12: rules that decide nothing are found, and no other; flows tell when they are due and whether they are used."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from qhs.net.needless import standings
from qhs.net.prove.filters import Chain, Names, Rule
from qhs.net.prove.space import service
from qhs.net.upkeep import Upkeep, table, upkeep
from stacks.model import Estate, load

WEB, MAIL = service(6, 443, 443), service(6, 25, 25)
ONE = Rule("one", "accept", iif=(Names(frozenset({"app"})),), family=4, src=((10, 19),), dst=((50, 50),), svc=WEB)
WIDE = replace(ONE, label="wide", src=((0, 99),))
TRACKED = Rule("guard:tracked", "accept", states=frozenset({"established", "related"}))
INVALID = Rule("guard:invalid", "drop", states=frozenset({"invalid"}))
DROP = Rule("drop", "drop", svc=WEB)
LOW, HIGH = replace(ONE, label="low", src=((0, 14),)), replace(ONE, label="high", src=((15, 30),))

CASES: dict[str, tuple[list[Rule], str | None, set[str]]] = {
    "alone": ([ONE], None, set()),
    "before it, a wider one": ([WIDE, ONE], "shadowed", {"wide"}),
    "after it, a wider one": ([ONE, WIDE], "redundant", {"wide"}),
    "before it, a drop": ([DROP, ONE], "shadowed", {"drop"}),
    "after it, a drop, then a wider one": ([ONE, DROP, WIDE], None, {"wide"}),
    "after it, two that are wide enough together": ([ONE, LOW, HIGH], "redundant", {"low", "high"}),
    "around it, two that are wide enough together": ([LOW, ONE, HIGH], "redundant", {"low", "high"}),
    "one of those alone": ([LOW, ONE], None, {"low"}),
    "guards that concern no new connection": ([TRACKED, INVALID, ONE], None, set()),
    "a wider one from elsewhere": ([replace(WIDE, iif=(Names(frozenset({"data"})),)), ONE], None, set()),
    "a wider one from everywhere": ([replace(WIDE, iif=()), ONE], "shadowed", {"wide"}),
    "a wider one to one port alone": ([replace(WIDE, oif=(Names(frozenset({"data"})),)), ONE], None, {"wide"}),
    "a wider one of the other family": ([replace(WIDE, family=6), ONE], None, set()),
    "another service": ([replace(WIDE, svc=MAIL), ONE], None, set()),
}

NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize("case", CASES)
def test_what_decides_nothing_is_named_with_what_decides(case: str) -> None:
    rules, kind, by = CASES[case]
    (found,) = (one for one in standings(Chain("c", tuple(rules), "forward", "drop")) if one.rule.label == "one")
    assert (found.kind, found.by) == (kind, by)


def test_where_all_else_passes_no_rule_is_needed() -> None:
    (found,) = standings(Chain("c", (ONE,), "forward", "accept"))
    assert found.kind == "redundant"


@pytest.fixture(scope="module")
def estate() -> Estate:
    return load("twin")


def listing(**packets: int) -> dict[str, Any]:
    """What nft shows of a machine with a rule for each of these flows, to a port of its own."""
    head = {"family": "inet", "table": "qhs"}
    chain = {**head, "name": "input", "type": "filter", "hook": "input", "policy": "drop"}
    rules: list[dict[str, Any]] = [{"chain": chain}]
    for port, (flow, seen) in enumerate(packets.items(), 1000):
        match = {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": port}
        expr: list[dict[str, Any]] = [{"match": match}, {"counter": {"packets": seen, "bytes": 0}}, {"accept": None}]
        rules.append({"rule": {**head, "chain": "input", "comment": flow.replace("_", "-"), "expr": expr}})
    return {"nftables": rules}


def test_a_flow_that_no_machine_has_seen_is_told_and_one_without_rules_is_not(estate: Estate) -> None:
    listings = {name: listing(everyone_to_time=0, everyone_to_names=3) for name in estate.machines}
    flows = {one.flow: one for one in upkeep(estate, listings, NOW, dict.fromkeys(listings, NOW)).flows}
    assert flows["everyone-to-time"].packets == 0
    assert flows["everyone-to-names"].packets == 3 * len(listings)
    assert flows["internet-to-mail"].packets is None


@pytest.mark.parametrize(("days", "packets", "unused"), [(89, 0, False), (90, 0, True), (90, 1, False)])
def test_a_flow_is_unused_once_all_its_machines_have_counted_nothing_for_90_days(
    estate: Estate, days: int, packets: int, unused: bool
) -> None:
    listings = {name: listing(everyone_to_time=packets) for name in ("qhdc-db1", "qhdc-db2")}
    booted = {"qhdc-db1": NOW - timedelta(days=days), "qhdc-db2": NOW - timedelta(days=300)}
    done = upkeep(estate, listings, NOW, booted)
    (found,) = (one for one in done.flows if one.flow == "everyone-to-time")
    assert (found.since, found.unused) == (booted["qhdc-db1"], unused)
    assert ("no packet since 02/09/2026" in printed(done)) == unused


def test_what_a_staged_flow_would_block_is_told(estate: Estate) -> None:
    flows = estate.catalogue.flows
    staged = flows["everyone-to-time"].model_copy(update={"staged": True})
    catalogue = estate.catalogue.model_copy(update={"flows": {**flows, "everyone-to-time": staged}})
    some = replace(estate, catalogue=catalogue)
    listings = {"qhdc-db1": listing(everyone_to_time=41), "qhdc-db2": listing(everyone_to_time=1)}
    done = upkeep(some, listings, NOW, dict.fromkeys(listings, NOW))
    assert "staged: 42 conversations since 01/12/2026 would be blocked" in printed(done)
    assert "staged: --live tells what it would block" in printed(upkeep(some, {}, NOW))


def printed(done: Upkeep) -> str:
    console = Console(width=300, record=True, file=StringIO())
    console.print(table(done), markup=False)
    return console.export_text()


def test_a_report_without_a_machine_is_incomplete(estate: Estate) -> None:
    listings = {name: listing() for name in estate.machines if name != "qhdc-db1"}
    found = upkeep(estate, listings, NOW, dict.fromkeys(listings, NOW))
    assert (found.code, found.missing) == (3, ["qhdc-db1"])


@pytest.mark.parametrize(("days", "said"), [(20, None), (13, "to be reviewed by 30/06/2027")])
def test_a_review_is_told_two_weeks_ahead(estate: Estate, days: int, said: str | None) -> None:
    now = datetime(2027, 6, 30, tzinfo=UTC) - timedelta(days=days)
    flows = {one.flow: one for one in upkeep(estate, {}, now).flows}
    assert flows["internet-to-mail"].due == said
