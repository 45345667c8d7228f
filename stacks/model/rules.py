"""Rulesets as data: what each firewall pair and each machine lets through, derived from the flows.

Every rule binds an interface and a prefix on both sides, so that a forged source never matches. Guards are
what holds for every machine whatever the flows are; no flow can take them away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from stacks.model import kubernetes
from stacks.model.addresses import Pair, text
from stacks.model.estate import (
    BASTION,
    EVERYWHERE,
    MANAGEMENT_PORTS,
    PEER_PORT,
    SYNC,
    TRACKING_PORT,
    TUNNEL,
    WORKER,
    Conversation,
    Estate,
    Machine,
    Place,
)
from stacks.model.inventory import Degraded

FAMILIES = ("ip", "ip6")
# Neighbour discovery: without it no IPv6 packet leaves a segment.
NEIGHBOURS = ("nd-neighbor-solicit", "nd-neighbor-advert")
# Path-MTU and unreachable messages come as `related`; nothing else of ICMP is open by itself.
TRACKED = ("established", "related")
TUNNEL_PORTS = ("500", "4500")


@dataclass(frozen=True)
class Rule:
    """One rule of a chain; an empty field matches everything."""

    chain: str
    verdict: str = "accept"
    iif: str = ""
    oif: str = ""
    family: str = ""
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    protocol: str = ""
    ports: tuple[str, ...] = ()
    """`443` or `5000-5100`."""
    icmp_types: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line, as plans show it: `forward iif=app oif=data family=ip protocol=tcp ports=5432 accept`."""
        words = [
            f"{word}={value if isinstance(value, str) else ','.join(value)}"
            for field, word in WORDS.items()
            if (value := getattr(self, field))
        ]
        return " ".join([self.chain, *words, self.verdict])

    @classmethod
    def parse(cls, line: str) -> Rule:
        """The inverse of `str`. Raises ValueError that names the word which is wrong."""
        chain, *words, verdict = line.split(" ") if " " in line else (line, "")
        given: dict[str, Any] = {}
        for word in words:
            name, _, value = word.partition("=")
            if name not in _FIELDS or not value:
                raise ValueError(f"found {word!r} in {line!r}; wanted <name>=<value> of {', '.join(_FIELDS)}")
            field = _FIELDS[name]
            given[field] = value if isinstance(getattr(cls, field), str) else tuple(value.split(","))
        return cls(chain=chain, verdict=verdict, **given)


# The fields of a rule by the names that its line has for them, in the line's order.
WORDS = {
    "iif": "iif",
    "oif": "oif",
    "family": "family",
    "sources": "from",
    "destinations": "to",
    "protocol": "protocol",
    "ports": "ports",
    "icmp_types": "icmp",
    "states": "state",
}
_FIELDS = {word: field for field, word in WORDS.items()}


@dataclass(frozen=True)
class FlowRules:
    """The rules of one flow on one target, with what a reviewer must see beside them."""

    flow: str
    owner: str
    serves: tuple[str, ...]
    expires: datetime | None
    staged: bool
    breaks: bool
    """Every service of it ends a chain of hops (C-NET-03)."""
    sources: tuple[str, ...]
    """Names of places."""
    destinations: tuple[str, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Ruleset:
    """What one firewall pair or one machine enforces."""

    target: str
    site: str
    kind: str
    """`pair` or `machine`."""
    members: tuple[str, ...]
    """Machines that it is written to."""
    guards: tuple[tuple[str, Rule], ...]
    """In this order, before the flows."""
    flows: dict[str, FlowRules]
    degraded: Degraded | None = None
    """Whether it may be written while a member does not answer."""


RulesOf = Callable[[Conversation], Iterable[Rule]]


def rulesets(estate: Estate, site: str) -> list[Ruleset]:
    """Every ruleset of a site: its firewall pair first, then its machines."""
    members = estate.firewalls(site)
    if not members:
        return []
    degraded = estate.inventory.sites[site].degraded
    guards, flows = _pair_guards(estate, site), _pair_flows(estate, site)
    pair = Ruleset(estate.pair_name(site), site, "pair", members, guards, flows, degraded)
    others = [m for m in estate.machines.values() if m.site == site and m.name not in members]
    return [pair, *(_of_machine(estate, machine) for machine in others)]


def _of_machine(estate: Estate, machine: Machine) -> Ruleset:
    onwards = _onward_guards(estate, machine) if BASTION in machine.roles else ()
    shared = _shared_guards(estate, machine) if machine.moving else ()
    through = _node_guards(estate, machine) if WORKER in machine.roles else ()
    guards = (*_common_guards(estate, machine.site), *_output_guards(), *onwards, *shared, *through)
    places = {port.place for port in machine.interfaces}
    # Most conversations are none of a machine's: left out here, they cost nothing.
    own = [one for one in estate.conversations if one.source.name in places or one.target.place in places]
    flows = _by_flow(estate, own, lambda c: (*_machine_rules(c, machine), *_pod_rules(estate, c, machine)))
    return Ruleset(machine.name, machine.site, "machine", (machine.name,), guards, flows)


def _pair_flows(estate: Estate, site: str) -> dict[str, FlowRules]:
    return _by_flow(
        estate,
        estate.conversations,
        lambda c: (*_forward_rules(estate, c, site), *_own_rules(estate, c, site), *_heard(estate, c, site)),
    )


def _own_rules(estate: Estate, conversation: Conversation, site: str) -> Iterator[Rule]:
    """What the members of a pair say themselves: between the sites, or on their leg in the segment of both ends."""
    source, destination = conversation.source, conversation.destination
    within = source.name == destination.name and estate.catalogue.flows[conversation.flow].firewalls
    if source.site == site and (source.of_pair or within):
        yield from _expanded(conversation, "output", "", source.leg)


def _heard(estate: Estate, conversation: Conversation, site: str) -> Iterator[Rule]:
    """What the members of a pair answer to, of a service that everyone has: on their leg in the segment that asks, and
    between the sites.
    """
    source, destination = conversation.source, conversation.destination
    everyone = estate.catalogue.services[conversation.target.service].on == "everyone"
    asked = source.name == destination.name or (destination.of_pair and source.site != site)
    if not (everyone and asked and source.site and destination.site == site):
        return
    legs = (port for name in estate.firewalls(site) for port in estate.machines[name].interfaces)
    own = tuple(port.address for port in legs if port.place in (destination.name, destination.external))
    if own:
        heard = replace(conversation, target=replace(conversation.target, targets=own))
        yield from _expanded(heard, "input", destination.leg, "")


def _by_flow(estate: Estate, conversations: Iterable[Conversation], rules_of: RulesOf) -> dict[str, FlowRules]:
    found: dict[str, tuple[list[Rule], list[Conversation]]] = {}
    for conversation in conversations:
        rules = list(rules_of(conversation))
        if rules:
            entry = found.setdefault(conversation.flow, ([], []))
            entry[0].extend(rules)
            entry[1].append(conversation)
    return {name: _flow_rules(estate, name, *found[name]) for name in sorted(found)}


def _flow_rules(estate: Estate, name: str, rules: list[Rule], conversations: list[Conversation]) -> FlowRules:
    flow = estate.catalogue.flows[name]
    return FlowRules(
        flow=name,
        owner=flow.owner,
        serves=tuple(flow.serves),
        expires=flow.expires,
        staged=flow.staged,
        breaks=all(estate.catalogue.services[service].breaks for service in flow.to),
        sources=tuple(sorted({one.source.name for one in conversations})),
        destinations=tuple(sorted({one.destination.name for one in conversations})),
        rules=tuple(_merged(rules)),
    )


def _forward_rules(estate: Estate, conversation: Conversation, site: str) -> Iterator[Rule]:
    source, destination = conversation.source, conversation.destination
    if source.name == destination.name or any(end.of_pair and end.site == site for end in (source, destination)):
        return
    legs = _legs(estate, source, destination, site)
    if legs:
        yield from _expanded(conversation, "forward", *legs)


def _legs(estate: Estate, source: Place, destination: Place, site: str) -> tuple[str, str] | None:
    """Through which legs of a site's firewalls the conversation passes; None: not through them."""
    if source.site and destination.site:
        if source.site == destination.site == site:
            return source.leg, destination.leg
        if source.site == site:
            return source.leg, TUNNEL
        return (TUNNEL, destination.leg) if destination.site == site else None
    here = site in estate.entry_sites(source) and site in estate.entry_sites(destination)
    return (source.leg, destination.leg) if here else None


def _machine_rules(conversation: Conversation, machine: Machine) -> Iterator[Rule]:
    for port in machine.interfaces:
        if conversation.target.place == port.place:
            targets = _own_targets(conversation.target.targets, (port.address, *machine.answers_at))
            if targets:
                target = replace(conversation.target, targets=targets)
                yield from _expanded(replace(conversation, target=target), "input", port.name, "")
        if conversation.source.name == port.place:
            yield from _expanded(conversation, "output", "", port.name)


def _pod_rules(estate: Estate, conversation: Conversation, node: Machine) -> Iterator[Rule]:
    """What a node passes on from its pods and to them: what the flows of its segment say, of its own pods' addresses.

    Their interfaces come and go; what reaches the node by its ports is told from what they say by its guards.
    """
    if WORKER not in node.roles:
        return
    pods, port, to = kubernetes.pods(estate, node), node.interfaces[0], conversation.target
    comes = to.place == port.place and estate.catalogue.services[to.service].on == "pods"
    goes = conversation.source.name == port.place and estate.catalogue.flows[conversation.flow].pods
    here = replace(conversation, target=replace(to, targets=(pods,)))
    if comes:
        yield from _expanded(here, "forward", port.name, "")
    if goes:
        own = replace(conversation.source, prefix=pods)
        yield from _expanded(replace(conversation, source=own), "forward", "", port.name)
        if comes:
            yield from _expanded(replace(here, source=own), "forward", "", "")
            yield from _expanded(here, "output", "", "")


def _own_targets(targets: tuple[Pair, ...], own: tuple[Pair, ...]) -> tuple[Pair, ...]:
    return tuple(
        mine
        for mine in own
        if any(mine.ipv4.subnet_of(t.ipv4) for t in targets)  # type: ignore[arg-type]  # one family
    )


def _expanded(conversation: Conversation, chain: str, iif: str, oif: str) -> Iterator[Rule]:
    by_protocol: dict[str, list[str]] = {}
    for port in conversation.target.ports:
        protocol, _, number = port.partition("/")
        by_protocol.setdefault(protocol, []).append(number)
    for index, family in enumerate(FAMILIES):
        rule = partial(
            Rule,
            chain=chain,
            iif=iif,
            oif=oif,
            family=family,
            sources=_matched([conversation.source.prefix], index),
            destinations=_matched(conversation.target.targets, index),
        )
        for protocol, numbers in by_protocol.items():
            if protocol == "icmp":
                name = "icmp" if family == "ip" else "icmpv6"
                yield rule(protocol=name, icmp_types=("echo-request",))
            else:
                yield rule(protocol=protocol, ports=tuple(sorted(numbers, key=_first_port)))


def _matched(pairs: Iterable[Pair], family: int) -> tuple[str, ...]:
    pairs = list(pairs)
    return () if EVERYWHERE in pairs else tuple(sorted({text(pair.both[family]) for pair in pairs}))


def _merged(rules: list[Rule]) -> Iterator[Rule]:
    """Rules that differ in their sources alone become one, with all of them."""
    groups: dict[Rule, set[str]] = {}
    for rule in rules:
        if rule.sources:
            groups.setdefault(replace(rule, sources=()), set()).update(rule.sources)
        else:
            groups[rule] = set()
    for rule, sources in groups.items():
        yield replace(rule, sources=tuple(sorted(sources)))


def _first_port(port: str) -> int:
    return int(port.partition("-")[0])


def _common_guards(estate: Estate, site: str) -> tuple[tuple[str, Rule], ...]:
    """What every machine lets in: replies, its own loopback, neighbours, and SSH from where it is managed."""
    managers = estate.managers(site)
    return (
        ("loopback", Rule("input", iif="lo")),
        ("tracked", Rule("input", states=TRACKED)),
        ("invalid", Rule("input", verdict="drop", states=("invalid",))),
        ("neighbours", Rule("input", protocol="icmpv6", icmp_types=NEIGHBOURS)),
        *(
            (
                "management",
                Rule(
                    "input",
                    iif=MANAGEMENT_PORTS,
                    family=family,
                    sources=_matched(managers, index),
                    protocol="tcp",
                    ports=("22",),
                ),
            )
            for index, family in enumerate(FAMILIES)
        ),
    )


def _output_guards() -> tuple[tuple[str, Rule], ...]:
    return (
        ("own-loopback", Rule("output", oif="lo")),
        ("own-tracked", Rule("output", states=TRACKED)),
        ("own-neighbours", Rule("output", protocol="icmpv6", icmp_types=NEIGHBOURS)),
    )


def _onward_guards(estate: Estate, bastion: Machine) -> Iterator[tuple[str, Rule]]:
    """A bastion opens SSH onwards, to what it manages: the machines of its own site."""
    managed = [estate.places[bastion.management.place].prefix]
    for index, family in enumerate(FAMILIES):
        to = _matched(managed, index)
        yield (
            "own-management",
            Rule("output", oif=MANAGEMENT_PORTS, family=family, destinations=to, protocol="tcp", ports=("22",)),
        )


def _shared_guards(estate: Estate, machine: Machine) -> Iterator[tuple[str, Rule]]:
    """Who shares addresses agrees with the others that do who has them: by VRRP over IPv4."""
    port = machine.interfaces[0].name
    others = _matched([one.interfaces[0].address for one in estate.sharers(machine) if one != machine], 0)
    rule = Rule("input", family="ip", protocol="vrrp")
    yield "vrrp", replace(rule, iif=port, sources=others)
    yield "own-vrrp", replace(rule, chain="output", oif=port, destinations=others)


def _node_guards(estate: Estate, node: Machine) -> Iterator[tuple[str, Rule]]:
    """Between its ports a node passes nothing on, so that it is no way from one segment to another. It answers its own
    pods' questions about names, and nobody's that come by a port.
    """
    port, pods = node.interfaces[0].name, kubernetes.pods(estate, node)
    for index, family in enumerate(FAMILIES):
        to = _matched([pods], index)
        yield "own-pods", Rule("output", "drop", oif=MANAGEMENT_PORTS, family=family, destinations=to)
    yield "through-tracked", Rule("forward", states=TRACKED)
    yield "through-invalid", Rule("forward", verdict="drop", states=("invalid",))
    yield "through-ports", Rule("forward", verdict="drop", iif=MANAGEMENT_PORTS)
    yield "through-ports", Rule("forward", verdict="drop", oif=MANAGEMENT_PORTS)
    yield "through-ports", Rule("forward", verdict="drop", iif=port, oif=port)
    names = kubernetes.names(estate, node.site)
    for index, family in enumerate(FAMILIES):
        asked = Rule("input", family=family, destinations=_matched([names], index))
        for name in (port, MANAGEMENT_PORTS):
            yield "names-ports", replace(asked, verdict="drop", iif=name)
        for protocol in ("udp", "tcp"):
            yield "names", replace(asked, sources=_matched([pods], index), protocol=protocol, ports=("53",))


_PEER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("tracking", {"protocol": "udp", "ports": (str(TRACKING_PORT),)}),
    ("peer", {"protocol": "tcp", "ports": (str(PEER_PORT),)}),
)


def _pair_guards(estate: Estate, site: str) -> tuple[tuple[str, Rule], ...]:
    """Firewalls also forward replies, on their own segment keep each other ready to take over, and keep the tunnels."""
    legs = [estate.machines[name].interface(SYNC).address for name in estate.firewalls(site)]
    members = _matched(legs, FAMILIES.index("ip"))
    return (
        *_common_guards(estate, site),
        ("vrrp", Rule("input", iif=SYNC, protocol="vrrp")),
        *((name, Rule("input", iif=SYNC, family="ip", sources=members, **port)) for name, port in _PEER),
        *(("tunnels", rule) for rule in _tunnels(estate, site, "input")),
        *_output_guards(),
        ("own-vrrp", Rule("output", oif=SYNC, protocol="vrrp")),
        *((f"own-{name}", Rule("output", oif=SYNC, family="ip", destinations=members, **port)) for name, port in _PEER),
        *(("own-tunnels", rule) for rule in _tunnels(estate, site, "output")),
        ("through-tracked", Rule("forward", states=TRACKED)),
        ("through-invalid", Rule("forward", verdict="drop", states=("invalid",))),
    )


def _tunnels(estate: Estate, site: str, chain: str) -> Iterator[Rule]:
    """At a carrier nothing is spoken but IKE, and ESP in UDP, between the sites' pairs; over IPv4, as tunnels run."""
    for carrier in estate.inventory.sites[site].carriers:
        own = _matched([estate.ends(site, carrier)], 0)
        others = _matched([estate.ends(peer, carrier) for peer in estate.peers(site, carrier)], 0)
        sources, destinations = (others, own) if chain == "input" else (own, others)
        rule = Rule(chain, family="ip", sources=sources, destinations=destinations, protocol="udp", ports=TUNNEL_PORTS)
        yield replace(rule, iif=carrier) if chain == "input" else replace(rule, oif=carrier)
