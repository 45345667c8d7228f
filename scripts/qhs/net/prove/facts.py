"""What the prover knows besides rules: where things lie, who forwards, and what is meant to be allowed.

It comes from the estate's places and machines and from `declared.py`; nothing here knows how a rule is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from qhs.net.prove.declared import built, ends, managers, offers, pairings
from qhs.net.prove.space import (
    ANY_ADDRESS,
    ANY_SERVICE,
    FAMILIES,
    PROTOCOLS,
    Box,
    ByFamily,
    Spans,
    minus,
    service,
    spans_of,
    union,
)
from stacks.model import Estate
from stacks.model.addresses import Pair
from stacks.model.catalogue import Flow
from stacks.model.estate import (
    BASTION,
    FIREWALL,
    INTER_SITE,
    MANAGEMENT_PORTS,
    PEER_PORT,
    SYNC,
    TRACKING_PORT,
    Interface,
    Machine,
    Place,
)

NEIGHBOURS = (135, 136)
SSH = 22
TUNNELS = (500, 4500)
"""IKE, and both it and ESP in UDP."""


@dataclass(frozen=True, eq=False)
class Area:
    """A place as the prover sees it: which wire it is on and which addresses it has."""

    name: str
    network: str
    """The wire that it lies on: its own segment, or an external network."""
    addresses: ByFamily[Spans]
    kind: str
    """Kind of its zone; of an outside place, the medium."""
    outside: bool
    site: str | None


@dataclass(frozen=True, eq=False)
class Leg:
    """A port of a machine."""

    name: str
    network: str
    own: ByFamily[Spans]
    """Addresses that the machine answers at there."""


@dataclass(frozen=True, eq=False)
class Node:
    """A machine. Only firewalls forward; a live reading may say otherwise (`forwards`)."""

    name: str
    site: str
    firewall: bool
    forwards: bool
    legs: tuple[Leg, ...]

    @property
    def unit(self) -> str:
        """What a packet passes once: the members of a firewall pair are one."""
        return f"{self.site}-fw" if self.firewall else self.name

    @cached_property
    def by_network(self) -> dict[str, Leg]:
        """Its ports by the wire they are on."""
        return {leg.network: leg for leg in self.legs}


@dataclass(frozen=True, eq=False)
class Target:
    """A service in a place."""

    service: str
    area: str
    dst: ByFamily[Spans]
    svc: ByFamily[Spans]
    ports: tuple[str, ...]
    breaks: bool
    everyone: bool
    """Firewalls of the place have it too."""


@dataclass(frozen=True)
class Talk:
    """One conversation that somebody declared."""

    flow: Flow
    source: str
    target: Target

    def box(self, facts: Facts, family: int) -> Box:
        """Its packets."""
        source = facts.areas[self.source].addresses[family]
        return Box(source, self.target.dst[family], self.target.svc[family])


@dataclass(frozen=True)
class Local:
    """What a machine itself must let in or out although no flow says so: how it is managed and stays reachable."""

    name: str
    node: str
    hook: str
    leg: str
    family: int
    box: Box


@dataclass(frozen=True)
class Facts:
    """Everything that is no rule."""

    areas: dict[str, Area]
    nodes: dict[str, Node]
    targets: tuple[Target, ...]
    talks: tuple[Talk, ...]
    locals: tuple[Local, ...]
    routes: dict[str, ByFamily[Spans]]
    """Which destinations machines send onto a wire."""
    link: str
    """The wire between the sites."""
    unbuilt: tuple[str, ...]
    """Sites without firewalls in this inventory: their places lie behind the inter-site link."""

    def without(self, listings: Iterable[str]) -> tuple[str, ...]:
        """Machines that are not among those whose rules could be had."""
        return tuple(name for name in self.nodes if name not in set(listings))

    @cached_property
    def forwarders(self) -> dict[str, tuple[Node, ...]]:
        """Machines that forward, by the wire they have a port on."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes.values():
            if node.forwards:
                for leg in node.legs:
                    found.setdefault(leg.network, []).append(node)
        return {network: tuple(nodes) for network, nodes in found.items()}


def facts(estate: Estate, forwards: Iterable[str] = ()) -> Facts:
    """The facts of an estate; `forwards` names further machines that were found forwarding."""
    ready = set(built(estate))
    areas = {place.name: _area(estate, place, ready) for place in estate.places.values()}
    targets = {(name, place): _target(estate, name, place, dst) for name, place, dst in offers(estate)}
    also = set(forwards)
    nodes = {machine.name: _node(machine, also) for machine in estate.machines.values() if machine.site in ready}
    talks = tuple(
        Talk(estate.catalogue.flows[one.flow], one.source, targets[one.service, one.place])
        for one in pairings(estate)
        if (one.service, one.place) in targets  # no machine carries it yet
    )
    own = tuple(one for name in nodes for one in _locals(estate, estate.machines[name]))
    unbuilt = tuple(site for site in estate.inventory.sites if site not in ready)
    return Facts(areas, nodes, tuple(targets.values()), talks, own, _routes(estate, areas), INTER_SITE, unbuilt)


def _area(estate: Estate, place: Place, built: set[str]) -> Area:
    catalogue = estate.catalogue
    kind = catalogue.zones[place.zone].kind if place.zone else catalogue.externals[str(place.external)].medium
    wire = str(place.external) if place.external else place.name if place.site in built else INTER_SITE
    return Area(place.name, wire, spans_of([place.prefix]), str(kind), place.site is None, place.site)


def _routes(estate: Estate, areas: dict[str, Area]) -> dict[str, ByFamily[Spans]]:
    """A segment takes its own addresses, the inter-site link those of every site, the Internet what is left."""
    outside = estate.inventory.externals | estate.inventory.carriers
    networks = {name: spans_of([Pair(one.ipv4, one.ipv6)]) for name, one in outside.items()}
    sites = spans_of(Pair(site.ipv4, site.ipv6) for site in estate.inventory.sites.values())
    networks[INTER_SITE] = {f: union((*networks[INTER_SITE][f], *sites[f])) for f in FAMILIES}
    internet = [name for name, one in estate.catalogue.externals.items() if one.medium == "internet"]
    known = [own for name, own in networks.items() if name not in internet]
    for name in internet:
        networks[name] = {f: minus(ANY_ADDRESS[f], union(s for one in known for s in one[f])) for f in FAMILIES}
    return {
        **networks,
        **{area.network: area.addresses for area in areas.values() if area.network == area.name and area.site},
    }


def _node(machine: Machine, forwards: set[str]) -> Node:
    legs = []
    for port in machine.interfaces:
        at = (*machine.services, *machine.moving)
        held = [target for one in at if one.place == port.place for target in one.targets]
        legs.append(Leg(port.name, port.place, spans_of([port.address, *held])))
    firewall = FIREWALL in machine.roles
    return Node(machine.name, machine.site, firewall, firewall or machine.name in forwards, tuple(legs))


def _target(estate: Estate, name: str, place: str, dst: ByFamily[Spans]) -> Target:
    one = estate.catalogue.services[name]
    svc = {family: union(_service(port, family) for port in one.ports) for family in FAMILIES}
    return Target(name, place, dst, svc, tuple(one.ports), bool(one.breaks), one.on == "everyone")


def _service(port: str, family: int) -> tuple[int, int]:
    protocol, _, number = port.partition("/")
    if protocol == "icmp":
        return service(1, 8, 8)[0] if family == FAMILIES[0] else service(58, 128, 128)[0]
    low, _, high = number.partition("-")
    return service(PROTOCOLS[protocol], int(low), int(high or low))[0]


def _locals(estate: Estate, machine: Machine) -> Iterator[Local]:
    known = managers(estate, machine.site)
    for family in FAMILIES:
        anywhere = ANY_ADDRESS[family]
        for hook in ("input", "output"):
            yield Local("loopback", machine.name, hook, "lo", family, Box(anywhere, anywhere, ANY_SERVICE))
        for port in machine.interfaces:
            if port.name == MANAGEMENT_PORTS:
                box = Box(known[family], anywhere, service(PROTOCOLS["tcp"], SSH, SSH))
                yield Local("management", machine.name, "input", port.name, family, box)
            if port.name == MANAGEMENT_PORTS and BASTION in machine.roles:
                managed = spans_of([estate.places[port.place].prefix])[family]
                box = Box(anywhere, managed, service(PROTOCOLS["tcp"], SSH, SSH))
                yield Local("management", machine.name, "output", port.name, family, box)
            if FIREWALL in machine.roles and port.name in estate.inventory.carriers and family == FAMILIES[0]:
                yield from _tunnels(estate, machine, port.name, family)
            for hook in ("input", "output"):
                if family == FAMILIES[1]:
                    box = Box(anywhere, anywhere, service(PROTOCOLS["icmpv6"], *NEIGHBOURS))
                    yield Local("neighbours", machine.name, hook, port.name, family, box)
                if FIREWALL in machine.roles and port.name == SYNC:
                    box = Box(anywhere, anywhere, service(PROTOCOLS["vrrp"]))
                    yield Local("vrrp", machine.name, hook, port.name, family, box)
            if FIREWALL in machine.roles and port.name == SYNC and family == FAMILIES[0]:
                yield from _between_members(estate, machine)
            if family == FAMILIES[0] and any(one.place == port.place for one in machine.moving):
                yield from _between_sharers(estate, machine, port)


def _between_sharers(estate: Estate, machine: Machine, port: Interface) -> Iterator[Local]:
    """What the machines of a group tell each other of the addresses that are with one of them."""
    family = FAMILIES[0]
    group = [one for one in estate.machines.values() if (one.site, one.group) == (machine.site, machine.group)]
    legs = [leg.address for one in group if one != machine for leg in one.interfaces if leg.place == port.place]
    others, vrrp = spans_of(legs)[family], service(PROTOCOLS["vrrp"])
    yield Local("vrrp", machine.name, "input", port.name, family, Box(others, ANY_ADDRESS[family], vrrp))
    yield Local("vrrp", machine.name, "output", port.name, family, Box(ANY_ADDRESS[family], others, vrrp))


def _between_members(estate: Estate, machine: Machine) -> Iterator[Local]:
    """What the members of a pair tell each other: the connections that they track, and their ruleset."""
    family = FAMILIES[0]
    anywhere = ANY_ADDRESS[family]
    firewalls = [one for one in estate.machines.values() if one.site == machine.site and FIREWALL in one.roles]
    pair = [one.interface(SYNC).address for one in firewalls]
    members = spans_of(pair)[family]
    for kind, protocol, number in (("tracking", "udp", TRACKING_PORT), ("peer", "tcp", PEER_PORT)):
        wanted = service(PROTOCOLS[protocol], number, number)
        yield Local(kind, machine.name, "input", SYNC, family, Box(members, anywhere, wanted))
        yield Local(kind, machine.name, "output", SYNC, family, Box(anywhere, members, wanted))


def _tunnels(estate: Estate, machine: Machine, carrier: str, family: int) -> Iterator[Local]:
    own, others = ends(estate, machine.site, carrier)
    ports = union(one for number in TUNNELS for one in service(PROTOCOLS["udp"], number, number))
    yield Local("tunnels", machine.name, "input", carrier, family, Box(others[family], own[family], ports))
    yield Local("tunnels", machine.name, "output", carrier, family, Box(own[family], others[family], ports))
