"""T-F02, T-F06 and the seed of T-F17: the proof is green for the planned rules and red for every change of them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from policies import baseline
from qhs.net.prove import Facts, NotUnderstoodError, Proof, facts, prove
from stacks.model import Estate

NOW = datetime(2026, 12, 1, tzinfo=UTC)
type Listing = dict[str, Any]
type Rules = list[Listing]
FIREWALL, HOST = "qhdc-fw1", "qhdc-db1"


def rules_of(listing: Listing) -> Rules:
    return [item["rule"] for item in listing["nftables"] if "rule" in item]


def find(listing: Listing, comment: str, chain: str = "forward") -> Listing:
    return next(rule for rule in rules_of(listing) if rule["comment"] == comment and rule["chain"] == chain)


def match(rule: Listing, name: str) -> Listing:
    found: Listing = next(
        one["match"]
        for one in rule["expr"]
        if "match" in one and name in next(iter(one["match"]["left"].values())).values()
    )
    return found


def remove(listing: Listing, rule: Listing) -> None:
    listing["nftables"] = [item for item in listing["nftables"] if item.get("rule") is not rule]


def put(listing: Listing, rule: Listing, chain: str, *, first: bool = False) -> None:
    at = next(n for n, item in enumerate(listing["nftables"]) if "rule" in item) if first else len(listing["nftables"])
    head = {"family": "inet", "table": "qhs", "chain": chain, "handle": 999}
    listing["nftables"].insert(at, {"rule": {**head, "comment": "mutant", **rule}})


def delete(comment: str, chain: str = "forward") -> Callable[[Listing], None]:
    return lambda listing: remove(listing, find(listing, comment, chain))


def drop_match(comment: str, name: str, chain: str = "forward") -> Callable[[Listing], None]:
    def change(listing: Listing) -> None:
        rule = find(listing, comment, chain)
        rule["expr"] = [one for one in rule["expr"] if one.get("match") is not match(rule, name)]

    return change


def value(comment: str, name: str, right: Any, chain: str = "forward") -> Callable[[Listing], None]:
    return lambda listing: match(find(listing, comment, chain), name).update(right=right)


def add(chain: str, *expr: Listing, first: bool = False) -> Callable[[Listing], None]:
    return lambda listing: put(listing, {"expr": list(expr)}, chain, first=first)


def policy(chain: str) -> Callable[[Listing], None]:
    def change(listing: Listing) -> None:
        for item in listing["nftables"]:
            if item.get("chain", {}).get("name") == chain:
                item["chain"]["policy"] = "accept"

    return change


def last(comment: str, chain: str) -> Callable[[Listing], None]:
    """Reorder: a rule behind all others of its chain."""

    def change(listing: Listing) -> None:
        rule = find(listing, comment, chain)
        remove(listing, rule)
        listing["nftables"].append({"rule": rule})

    return change


def payload(protocol: str, field: str, right: Any) -> Listing:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


def meta(key: str, right: Any) -> Listing:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": right}}


ACCEPT: Listing = {"accept": None}
DROP: Listing = {"drop": None}
FLOW = "app-to-postgres"
# It expires, and nothing else lets a vendor in.
BRIEF, ENDED, BASTION = "vendor-to-bastion", "expired:vendor-to-bastion", "qhdc-bastion1"
SHARER = "qhdc-hsm2"
MUTANTS: dict[str, tuple[str, Callable[[Listing], None]]] = {
    "a flow's rule deleted": (FIREWALL, delete(FLOW)),
    "a source forgotten": (FIREWALL, drop_match(FLOW, "saddr")),
    "a destination forgotten": (FIREWALL, drop_match(FLOW, "daddr")),
    "a port forgotten": (FIREWALL, drop_match(FLOW, "dport")),
    "an incoming interface forgotten": (FIREWALL, drop_match(FLOW, "iifname")),
    "an outgoing interface forgotten": (FIREWALL, drop_match(FLOW, "oifname")),
    "another port": (FIREWALL, value(FLOW, "dport", 5433)),
    "a wider range of ports": (FIREWALL, value(FLOW, "dport", {"range": [5432, 5433]})),
    "another interface": (FIREWALL, value(FLOW, "iifname", "internet")),
    "forwarding open by policy": (FIREWALL, policy("forward")),
    "input of a machine open by policy": (HOST, policy("input")),
    "output of a machine open by policy": (HOST, policy("output")),
    "an accept of everything": (FIREWALL, add("forward", ACCEPT)),
    "an accept in front": (FIREWALL, add("forward", meta("iifname", "user-lan"), ACCEPT, first=True)),
    "one UDP port more": (FIREWALL, add("forward", payload("udp", "dport", 53), ACCEPT)),
    "an accept from one address": (FIREWALL, add("forward", payload("ip", "saddr", "203.0.113.7"), ACCEPT)),
    "a drop in front": (FIREWALL, add("forward", payload("tcp", "dport", 5432), DROP, first=True)),
    "a drop in front of one machine": (HOST, add("input", payload("ip", "saddr", "10.16.64.0"), DROP, first=True)),
    "one more port of a machine": (HOST, add("input", payload("tcp", "dport", 8080), ACCEPT)),
    "a machine may call out": (HOST, add("output", payload("tcp", "dport", 443), ACCEPT)),
    "a machine's own rule deleted": (HOST, delete(FLOW, "input")),
    "no management": (HOST, delete("guard:management", "input")),
    "no neighbours": (HOST, delete("guard:neighbours", "input")),
    "no loopback": (HOST, delete("guard:loopback", "input")),
    "no VRRP": (FIREWALL, delete("guard:vrrp", "input")),
    "nobody agrees who has an address": (SHARER, delete("guard:own-vrrp", "output")),
    "anybody may say who has an address": (SHARER, drop_match("guard:vrrp", "saddr", "input")),
    "nothing heard of what the peer tracks": (FIREWALL, delete("guard:tracking", "input")),
    "no ruleset from the peer": (FIREWALL, delete("guard:own-peer", "output")),
    "a ruleset for everyone on the leg": (FIREWALL, drop_match("guard:peer", "saddr", "input")),
    "a firewall that cannot log": (FIREWALL, delete("everyone-to-logs", "output")),
    "a firewall whose metrics nobody gets": ("hall-fw1", delete("soc-to-metrics-of-hall", "input")),
    "no tunnels": (FIREWALL, delete("guard:own-tunnels", "output")),
    "tunnels with anybody": (FIREWALL, drop_match("guard:tunnels", "saddr", "input")),
    "a carrier without tunnels": (FIREWALL, value("guard:tunnels", "iifname", "internet", "input")),
    "no replies through": (FIREWALL, delete("guard:through-tracked")),
    "no replies in": (HOST, delete("guard:tracked", "input")),
    "no replies out": (HOST, delete("guard:own-tracked", "output")),
    "invalid packets through": (FIREWALL, delete("guard:through-invalid")),
    "the guard against invalid packets last": (FIREWALL, last("guard:through-invalid", "forward")),
    "management from anywhere": (HOST, drop_match("guard:management", "saddr", "input")),
    "an expiry that ends no session through": (FIREWALL, delete(ENDED)),
    "an expiry that ends no session in": (BASTION, delete(ENDED, "input")),
    "an expiry that lets answers go on": (BASTION, delete(ENDED, "output")),
}


@pytest.fixture
def judged(known: Facts, listings: dict[str, Any]) -> Callable[[], Proof]:
    return lambda: prove(known, listings, NOW)


def test_the_planned_rules_are_what_the_flows_say(judged: Callable[[], Proof]) -> None:
    proof = judged()
    assert [cell for cell in proof.cells if cell.packet] == []
    assert proof.code == 0
    assert {cell.kind for cell in proof.cells} == {"flow", "rest", "edge", "host", "local", "state", "expiry", "chain"}


def test_every_declared_conversation_is_a_cell_that_allows(known: Facts, judged: Callable[[], Proof]) -> None:
    allowed = {(c.source, c.destination, c.service) for c in judged().cells if (c.kind, c.found) == ("flow", "allow")}
    at_the_site = {
        (talk.source, talk.target.area, talk.target.service)
        for talk in known.talks
        if {known.areas[talk.source].site, known.areas[talk.target.area].site} == {"qhdc"}
    }
    assert at_the_site and at_the_site <= allowed


def test_chains_are_asked_for_into_all_that_the_baseline_protects(known: Facts, judged: Callable[[], Proof]) -> None:
    asked = {known.areas[cell.destination].kind for cell in judged().cells if cell.kind == "chain"}
    assert asked == set(baseline.load().thresholds("C-NET-03")["protected"])


@pytest.mark.parametrize("name", MUTANTS)
def test_a_changed_rule_makes_the_proof_red(name: str, listings: dict[str, Any], judged: Callable[[], Proof]) -> None:
    machine, change = MUTANTS[name]
    change(listings[machine])
    proof = judged()
    assert proof.code == 2
    packets = [cell.packet for cell in proof.violations if cell.packet]
    assert all(packet.source and packet.destination and packet.hops for packet in packets)


def test_the_counter_example_names_the_packet_and_the_rule(
    listings: dict[str, Any], judged: Callable[[], Proof]
) -> None:
    add("forward", meta("iifname", "internet"), meta("oifname", "data"), payload("tcp", "dport", 22), ACCEPT)(
        listings[FIREWALL]
    )
    cell = next(
        c for c in judged().violations if (c.kind, c.source, c.destination) == ("rest", "internet", "qhdc.data")
    )
    assert cell.packet is not None
    assert cell.packet.service == "tcp/22"
    assert cell.packet.hops[0] == (FIREWALL, "internet", "data", "mutant")


def test_members_of_a_pair_are_judged_each(listings: dict[str, Any], judged: Callable[[], Proof]) -> None:
    listings["qhdc-fw2"] = deepcopy(listings[FIREWALL])
    delete(FLOW)(listings["qhdc-fw2"])
    hops = [cell.packet.hops[0] for cell in judged().violations if cell.packet]
    assert {hop.node for hop in hops} == {"qhdc-fw2"}


def test_a_chain_through_a_service_that_breaks_nothing_is_found(
    known: Facts, listings: dict[str, Any], judged: Callable[[], Proof]
) -> None:
    """Internet to app on a port that no service breaks, and from there to the database as declared."""
    add("forward", meta("iifname", "internet"), meta("oifname", "app"), payload("tcp", "dport", 22), ACCEPT)(
        listings[FIREWALL]
    )
    add("input", payload("tcp", "dport", 22), ACCEPT)(listings["qhdc-app1"])
    found = [c for c in judged().violations if (c.kind, c.source, c.destination) == ("chain", "internet", "qhdc.data")]
    assert len(found) == 2
    assert all(cell.packet and cell.packet.note.startswith("internet -> qhdc.app (tcp/22) -> ") for cell in found)


def test_a_host_that_forwards_is_a_path(estate: Estate, listings: dict[str, Any]) -> None:
    """With forwarding on and an open forward chain, a machine joins its segment to the management ports."""
    policy("forward")(listings[HOST])
    found = [c for c in prove(facts(estate, forwards=[HOST]), listings, NOW).violations if c.kind == "rest"]
    assert ("qhdc.data", "qhdc.mgmt-ports") in {(cell.source, cell.destination) for cell in found}


def test_from_the_second_of_an_expiry_nothing_of_the_flow_passes(
    estate: Estate, known: Facts, listings: dict[str, Any]
) -> None:
    """Before, it does; and what the flow had established ends with it."""
    then = estate.catalogue.flows[BRIEF].expires
    assert then
    for moment, passes in ((then - timedelta(seconds=1), True), (then, False)):
        proof = prove(known, listings, moment)
        assert (proof.code, [cell for cell in proof.cells if cell.packet]) == (0, [])
        cells = {cell[:4]: cell.found for cell in proof.cells if cell.kind == "flow"}
        assert cells["flow", "qhdc.vendor", "qhdc.management", "bastion"] == ("allow" if passes else "deny")
    for listing in listings.values():
        for rule in rules_of(listing):
            if rule["comment"] == ENDED:
                remove(listing, rule)
    proof = prove(known, listings, then)
    assert {(cell.kind, cell.service) for cell in proof.violations} == {("expiry", "established, expired")}


def test_a_machine_without_rules_leaves_the_proof_incomplete(known: Facts, listings: dict[str, Any]) -> None:
    del listings[HOST]
    proof = prove(known, listings, NOW)
    assert (proof.code, proof.missing, proof.cells) == (3, (HOST,), ())


@pytest.mark.parametrize(
    "odd",
    [
        {"limit": {"rate": 5, "per": "second"}},
        {"dnat": {"addr": "10.16.80.1"}},
        meta("mark", 7),
        payload("tcp", "sport", 1024),
        {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@nowhere"}},
    ],
)
def test_what_is_not_understood_is_an_error(
    odd: Listing, listings: dict[str, Any], judged: Callable[[], Proof]
) -> None:
    add("forward", odd, ACCEPT)(listings[FIREWALL])
    with pytest.raises(NotUnderstoodError, match=r"qhdc-fw1: rule mutant of inet qhs forward: found "):
        judged()


def test_the_estate_of_the_twin_has_the_machines_that_mutants_name(estate: Estate) -> None:
    assert {FIREWALL, HOST, "qhdc-app1"} <= set(estate.machines)
