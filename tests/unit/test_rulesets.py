"""Properties of every ruleset of both environments: what is bound, what is guarded, and that nothing is missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Network, ip_address, ip_network

import pytest

from stacks.model import Estate, kubernetes, load
from stacks.model.estate import (
    BASTION,
    CONTROL,
    DATABASE,
    HSM,
    MANAGEMENT_PORTS,
    SYNC,
    TUNNEL,
    WORKER,
    Conversation,
    Machine,
    Place,
)
from stacks.model.rules import FlowRules, Rule, Ruleset, rulesets

NOW = datetime(2026, 11, 25, tzinfo=UTC)
SITES = {"qhdc", "ndc", "hall"}
BOUND = {"forward": {"iif", "oif"}, "input": {"iif"}, "output": {"oif"}}
GUARDS = {
    "machine": [
        "loopback", "tracked", "invalid", "neighbours", "management", "own-loopback", "own-tracked", "own-neighbours",
    ],
    "pair": [
        "loopback", "tracked", "invalid", "neighbours", "management", "vrrp", "tracking", "peer", "tunnels",
        "own-loopback", "own-tracked", "own-neighbours", "own-vrrp", "own-tracking", "own-peer", "own-tunnels",
        "through-tracked", "through-invalid",
    ],
}  # fmt: skip
NODE_GUARDS = ["own-pods", "through-tracked", "through-invalid", "through-ports", "names-ports", "names"]


@pytest.fixture(scope="module", params=["twin", "prod"])
def estate(request: pytest.FixtureRequest) -> Estate:
    return load(request.param, NOW)


@pytest.fixture(scope="module")
def everything(estate: Estate) -> dict[str, Ruleset]:
    return {one.target: one for site in estate.inventory.sites for one in rulesets(estate, site)}


def _rules(everything: dict[str, Ruleset]) -> Iterator[tuple[Ruleset, FlowRules, Rule]]:
    for ruleset in everything.values():
        for flow in ruleset.flows.values():
            for rule in flow.rules:
                yield ruleset, flow, rule


def test_each_pair_and_each_machine_of_an_active_site_has_a_ruleset(
    estate: Estate, everything: dict[str, Ruleset]
) -> None:
    firewalls = {name for site in estate.inventory.sites for name in estate.firewalls(site)}
    pairs = {f"{site}-fw": estate.firewalls(site) for site in estate.active_sites}
    machines = {name: (name,) for name, one in estate.machines.items() if one.site in estate.active_sites}
    wanted = pairs | {name: own for name, own in machines.items() if name not in firewalls}
    assert {name: one.members for name, one in everything.items()} == wanted
    assert all(one.kind == ("pair" if name in pairs else "machine") for name, one in everything.items())
    assert all(one.flows for one in everything.values()), "every machine takes part in some flow"


def test_a_site_without_firewalls_has_no_ruleset(estate: Estate) -> None:
    passive = set(estate.inventory.sites) - set(estate.active_sites)
    assert [one for site in passive for one in rulesets(estate, site)] == []


def test_every_rule_binds_interfaces_that_its_machines_have(estate: Estate, everything: dict[str, Ruleset]) -> None:
    for ruleset, flow, rule in _rules(everything):
        bound = {name for name in ("iif", "oif") if getattr(rule, name)}
        if _of_pods(estate, ruleset, rule):  # their interfaces come and go, so that their addresses bind them
            assert rule.sources, (ruleset.target, flow.flow, rule)
            assert rule.destinations, (ruleset.target, flow.flow, rule)
        else:
            assert bound == BOUND[rule.chain], (ruleset.target, flow.flow, rule)
        for member in ruleset.members:
            ports = {port.name for port in estate.machines[member].interfaces}
            assert {rule.iif, rule.oif} - {""} <= ports, (member, flow.flow)


def _of_pods(estate: Estate, ruleset: Ruleset, rule: Rule) -> bool:
    node = estate.machines[ruleset.members[0]]
    return WORKER in node.roles and not {*rule.sources, *rule.destinations}.isdisjoint(
        kubernetes.pods(estate, node).texts()
    )


def test_no_rule_is_any_to_any(everything: dict[str, Ruleset]) -> None:
    for ruleset, flow, rule in _rules(everything):
        at = (ruleset.target, flow.flow, rule)
        assert rule.verdict == "accept", at
        assert rule.family in ("ip", "ip6"), at
        assert rule.protocol in ("tcp", "udp"), at
        assert rule.ports, at
        assert rule.sources or "internet" in (rule.iif, *flow.sources), at
        assert rule.destinations or "internet" in (rule.oif, *flow.destinations), at
        assert rule.sources or rule.destinations, at
        assert rule.chain != "forward" or rule.sources or rule.iif == "internet", at


def test_a_rule_stands_in_both_families(everything: dict[str, Ruleset]) -> None:
    for ruleset, flow, _ in _rules(everything):
        shapes = {
            family: {
                (one.chain, one.iif, one.oif, one.protocol, one.ports) for one in flow.rules if one.family == family
            }
            for family in ("ip", "ip6")
        }
        assert shapes["ip"] == shapes["ip6"] != set(), (ruleset.target, flow.flow)


def test_a_forged_source_never_matches(estate: Estate, everything: dict[str, Ruleset]) -> None:
    """Each source of a rule of a pair lies behind the interface that the packet comes in by."""
    for ruleset, flow, rule in _rules(everything):
        if rule.chain == "forward" and ruleset.kind == "pair":
            behind = [place.prefix for place in estate.places.values() if _enters(place, ruleset.site) == rule.iif]
            for source in rule.sources:
                network = ip_network(source)
                assert any(
                    network.subnet_of(own)  # type: ignore[arg-type]  # one family, below
                    for prefix in behind
                    for own in prefix.both
                    if own.version == network.version
                ), (ruleset.target, flow.flow, rule)


def _enters(place: Place, site: str) -> str:
    """The leg by which packets from a place come to a site's pair."""
    return place.leg if place.site in (site, None) else TUNNEL


def test_every_conversation_passes_the_pairs_on_its_way(estate: Estate, everything: dict[str, Ruleset]) -> None:
    for one in estate.conversations:
        for site, iif, oif in _passes(estate, one):
            flow = everything[f"{site}-fw"].flows.get(one.flow)
            assert flow is not None, (site, one.flow)
            assert {"ip", "ip6"} == {
                rule.family for rule in flow.rules if (rule.iif, rule.oif) == (iif, oif) and _covers(rule, one)
            }, (site, one.flow, one.source.name, one.target.place)


def _passes(estate: Estate, one: Conversation) -> Iterator[tuple[str, str, str]]:
    source, destination = one.source, one.destination
    if source.name == destination.name:
        return
    for site in estate.active_sites:
        if any(end.of_pair and end.site == site for end in (source, destination)):
            continue  # the pair itself is one end
        near = source.site == site or (source.site is None and site == destination.site)
        far = destination.site == site or (destination.site is None and site == source.site)
        if near or far:
            yield site, _enters(source, site), _enters(destination, site)


def _covers(rule: Rule, one: Conversation) -> bool:
    mine = [str(prefix) for prefix in one.source.prefix.both]
    targets = {text for target in one.target.targets for text in target.texts()}
    anywhere = one.source.name == "internet"
    to = not rule.destinations or set(rule.destinations) <= targets
    return to and (anywhere or bool(set(rule.sources) & set(mine)))


def test_a_machine_lets_in_what_it_serves_and_nothing_else(estate: Estate, everything: dict[str, Ruleset]) -> None:
    targets: dict[tuple[str, str], set[str]] = {}
    for one in estate.conversations:
        found = targets.setdefault((one.flow, one.target.place), set())
        found |= {text for target in one.target.targets for text in target.texts()}
    for ruleset, flow, rule in _rules(everything):
        if rule.chain == "input":
            machines = [estate.machines[name] for name in ruleset.members]
            own = {text for one in machines for port in one.interfaces for text in port.address.texts()}
            own |= {text for one in machines for to in one.answers_at for text in to.texts()}
            # Another site speaks to a segment behind the wire that it comes by.
            places = flow.destinations if rule.iif == TUNNEL else [f"{ruleset.site}.{rule.iif}"]
            served = {text for place in places for text in targets[flow.flow, place]}
            assert set(rule.destinations) <= own, (ruleset.target, flow.flow)
            assert all(any(_inside(to, whole) for whole in served) for to in rule.destinations), ruleset.target


def _inside(address: str, whole: str) -> bool:
    one, other = ip_network(address), ip_network(whole)
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]  # of one family


def test_a_pair_answers_nothing_but_who_reads_its_metrics(estate: Estate, everything: dict[str, Ruleset]) -> None:
    heard: dict[str, set[tuple[str, str, tuple[str, ...]]]] = {}
    for ruleset, flow, rule in _rules(everything):
        if rule.chain == "input" and ruleset.kind == "pair":
            heard.setdefault(ruleset.site, set()).add((flow.flow, rule.iif, rule.ports))
    own, hall = ("soc-to-metrics", "soc", ("9100",)), ("soc-to-metrics-of-hall", TUNNEL, ("9100",))
    assert heard == {"qhdc": {own}, "ndc": {own}, "hall": {hall}}


def test_a_machine_lets_in_every_flow_to_a_service_that_it_holds(
    estate: Estate, everything: dict[str, Ruleset]
) -> None:
    for name, ruleset in everything.items():
        let_in = {flow.flow for _, flow, rule in _rules({name: ruleset}) if rule.chain == "input"}
        for held in estate.machines[name].services if ruleset.kind == "machine" else ():
            at = (held.service, held.place)
            wanted = {one.flow for one in estate.conversations if (one.target.service, one.target.place) == at}
            assert wanted, (name, held.service)
            assert wanted <= let_in, (name, held.service)


def test_no_flow_touches_management_ports_or_the_pairs_own_wire(everything: dict[str, Ruleset]) -> None:
    for ruleset, flow, rule in _rules(everything):
        assert not {rule.iif, rule.oif} & {MANAGEMENT_PORTS, SYNC}, (ruleset.target, flow.flow)


def test_no_flow_crosses_the_edge_of_the_enclave(everything: dict[str, Ruleset]) -> None:
    assert [ruleset.target for ruleset, flow, _ in _rules(everything) if flow.flow == "enclave-inside"] == []


def test_guards_come_in_their_order(estate: Estate, everything: dict[str, Ruleset]) -> None:
    bastions = {name for name, one in estate.machines.items() if BASTION in one.roles}
    assert bastions
    for ruleset in everything.values():
        names = list(dict.fromkeys(name for name, _ in ruleset.guards))
        onwards = ["own-management"] if ruleset.members[0] in bastions else []
        shared = ["vrrp", "own-vrrp"] if estate.machines[ruleset.members[0]].moving else []
        through = NODE_GUARDS if WORKER in estate.machines[ruleset.members[0]].roles else []
        assert names == GUARDS[ruleset.kind] + onwards + shared + through, ruleset.target


def test_guards_let_in_nothing_new_but_management_and_the_link_itself(
    estate: Estate, everything: dict[str, Ruleset]
) -> None:
    for ruleset in everything.values():
        for name, rule in ruleset.guards:
            if name in ("own-pods", "through-ports", "names-ports"):
                assert rule.verdict == "drop"
            elif name == "names":
                _of_own_pods_to_their_names(estate, estate.machines[ruleset.target], rule)
            elif rule.verdict == "drop":
                assert rule.states == ("invalid",)
            elif name == "management":
                assert (rule.chain, rule.iif, rule.protocol, rule.ports) == ("input", MANAGEMENT_PORTS, "tcp", ("22",))
                assert rule.sources, ruleset.target
            elif name == "own-management":
                assert (rule.chain, rule.oif, rule.protocol, rule.ports) == ("output", MANAGEMENT_PORTS, "tcp", ("22",))
                managed = estate.places[f"{ruleset.site}.{MANAGEMENT_PORTS}"].prefix
                assert rule.destinations
                assert set(rule.destinations) <= set(managed.texts())
            elif name.endswith("vrrp") and ruleset.kind == "machine":
                _between_those_who_share(estate, estate.machines[ruleset.target], rule)
            elif name.endswith("vrrp"):
                assert SYNC in (rule.iif, rule.oif)
                assert rule.protocol == "vrrp"
            elif name.endswith(("tracking", "peer")):
                assert SYNC in (rule.iif, rule.oif)
                others = rule.sources if rule.chain == "input" else rule.destinations
                legs = {estate.machines[member].interface(SYNC).address.texts()[0] for member in ruleset.members}
                assert set(others) == legs, ruleset.target
                assert len(rule.ports) == 1
            elif name.endswith("tunnels"):
                _between_the_pairs(estate, ruleset.site, rule)
            else:
                new = not rule.states and "lo" not in (rule.iif, rule.oif)
                assert not new or rule.icmp_types == ("nd-neighbor-solicit", "nd-neighbor-advert"), (name, rule)


def test_a_node_is_no_way_between_its_ports(estate: Estate, everything: dict[str, Ruleset]) -> None:
    """Before any rule about its pods it drops what would pass through it, by whatever ports it came."""
    nodes = [machine for machine in estate.machines.values() if WORKER in machine.roles]
    assert nodes
    for node in nodes:
        port = node.interfaces[0].name
        drops = [rule for name, rule in everything[node.name].guards if name == "through-ports"]
        assert {(one.verdict, one.iif, one.oif) for one in drops} == {
            ("drop", MANAGEMENT_PORTS, ""),
            ("drop", "", MANAGEMENT_PORTS),
            ("drop", port, port),
        }


def test_pods_have_the_flows_that_are_meant_for_them_and_their_own_addresses(
    estate: Estate, everything: dict[str, Ruleset]
) -> None:
    """Each node passes on what its own pods say and hear, and of no flow that is for machines alone."""
    shares: dict[str, list[IPv4Network]] = {}
    for node in (one for one in estate.machines.values() if WORKER in one.roles):
        own = kubernetes.pods(estate, node)
        place = node.interfaces[0].place
        assert not any(own.ipv4.overlaps(other) for other in shares.setdefault(place, []))
        shares[place].append(IPv4Network(own.ipv4))
        machines = {one.addresses[0] for one in estate.machines.values() if one.interfaces[0].place == place}
        assert not any(ip_address(one) in own.ipv4 for one in machines)
        for name, flow in everything[node.name].flows.items():
            passed = [rule for rule in flow.rules if rule.chain == "forward"]
            declared = estate.catalogue.flows[name]
            of_pods = any(estate.catalogue.services[service].on == "pods" for service in declared.to)
            speaks = declared.pods and place.partition(".")[2] in declared.source
            assert bool(passed) == (speaks or of_pods), (node.name, name)
            for rule in passed:
                assert set(own.texts()) & {*rule.sources, *rule.destinations}, (node.name, name, rule)


def test_a_node_answers_about_names_whom_it_runs_and_nobody_who_comes_by_a_port(
    estate: Estate, everything: dict[str, Ruleset]
) -> None:
    """An address of a pod that somebody takes on the segment is of no use there."""
    for node in (machine for machine in estate.machines.values() if WORKER in machine.roles):
        guards = [(name, rule) for name, rule in everything[node.name].guards if name.startswith("names")]
        for index, family in enumerate(("ip", "ip6")):
            address = kubernetes.names(estate, node.site).texts()[index]
            found = [(name, rule) for name, rule in guards if rule.family == family]
            assert [rule.iif for name, rule in found if name == "names-ports"] == [
                node.interfaces[0].name,
                MANAGEMENT_PORTS,
            ]
            assert {rule.destinations for _, rule in found} == {(address,)}
            assert [name for name, _ in found] == ["names-ports", "names-ports", "names", "names"]
            assert [rule.protocol for name, rule in found if name == "names"] == ["udp", "tcp"]


def _of_own_pods_to_their_names(estate: Estate, node: Machine, rule: Rule) -> None:
    index = ("ip", "ip6").index(rule.family)
    assert (rule.chain, rule.protocol in ("udp", "tcp"), rule.ports) == ("input", True, ("53",))
    assert rule.sources == (kubernetes.pods(estate, node).texts()[index],)
    assert rule.destinations == (kubernetes.names(estate, node.site).texts()[index],)


def _between_those_who_share(estate: Estate, machine: Machine, rule: Rule) -> None:
    zone = {HSM: "signing", DATABASE: "data", CONTROL: "control"}[machine.roles[0]]
    assert (rule.family, rule.protocol, rule.iif or rule.oif) == ("ip", "vrrp", zone)
    others = {one.addresses[0] for one in estate.with_role(machine.site, machine.roles[0])}
    assert others - {machine.addresses[0]} == set(rule.sources if rule.chain == "input" else rule.destinations)


def _between_the_pairs(estate: Estate, site: str, rule: Rule) -> None:
    carrier = rule.iif or rule.oif
    assert carrier in estate.inventory.sites[site].carriers
    assert (rule.family, rule.protocol, rule.ports) == ("ip", "udp", ("500", "4500"))
    own, others = [str(estate.ends(site, carrier).ipv4)], {str(estate.ends(it, carrier).ipv4) for it in SITES - {site}}
    ends = (rule.sources, rule.destinations) if rule.chain == "input" else (rule.destinations, rule.sources)
    assert (set(ends[0]), list(ends[1])) == (others, own)


def test_machines_are_managed_from_the_bastions_of_their_site(estate: Estate, everything: dict[str, Ruleset]) -> None:
    for ruleset in everything.values():
        bastions = [one for one in estate.machines.values() if one.site == ruleset.site and "bastion" in one.roles]
        wanted = {text for one in bastions for text in one.management.address.texts()}
        found = {source for name, rule in ruleset.guards if name == "management" for source in rule.sources}
        operator = set(estate.operator(ruleset.site).texts())
        in_twin = estate.inventory.environment == "twin"
        assert found == (wanted | operator if in_twin else wanted or operator), ruleset.target


def test_a_flow_carries_what_a_reviewer_must_see(estate: Estate, everything: dict[str, Ruleset]) -> None:
    for ruleset in everything.values():
        for name, flow in ruleset.flows.items():
            declared = estate.catalogue.flows[name]
            assert (flow.owner, list(flow.serves)) == (declared.owner, declared.serves)
            assert (flow.expires, flow.staged) == (declared.expires, declared.staged)
            assert flow.breaks == bool(estate.catalogue.services[declared.to[0]].breaks)
            assert flow.sources
            assert flow.destinations
