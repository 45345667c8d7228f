"""Which packets to send: for each cell what reaches it from real places, and what the catalogue says of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_network
from typing import NamedTuple

from qhs.net.probe.hops import first_hop, without_route
from qhs.net.probe.vantage import Vantage
from qhs.net.prove.space import FAMILIES
from stacks.model import Estate
from stacks.model.addresses import Pair
from stacks.model.estate import EVERYWHERE, INTER_SITE, MANAGEMENT_PORTS, Place, ServiceAt

REST = "anything else"
"""What no service is: an echo, and a port that no service has."""
FIREWALL = "a firewall itself"
NO_SERVICE = ("icmp", "tcp/7", "udp/7")
MANAGEMENT = "guard:management"
_SSH = "tcp/22"


class Cell(NamedTuple):
    """One question, as `qhs net prove` asks it too."""

    source: str
    destination: str
    service: str
    family: int


@dataclass(frozen=True, slots=True)
class Probe:
    """One packet to send: from a place, to a port of a service, or to one that nothing has."""

    source: Vantage
    target: ServiceAt
    holder: Vantage
    address: str
    protocol: str
    port: int
    """0: an echo has none."""
    allowed_by: str | None
    """The flow that allows it; none: it must not get through."""
    neighbour: str | None
    """The first address on its way, which answers while the wire works; none: its place has no such thing."""
    routed: bool
    """Its place has a gateway, so that rules stop it, not the want of a route."""

    @property
    def family(self) -> int:
        return 6 if ":" in self.address else 4

    @property
    def cell(self) -> Cell:
        return Cell(self.source.place, self.target.place, self.target.service, self.family)

    @property
    def is_for_firewall(self) -> bool:
        """It ends at a firewall; no proof has a cell of its own for that."""
        return self.target.service == FIREWALL

    @property
    def packet(self) -> str:
        """`tcp/443`, or `icmp`."""
        return text(self.protocol, self.port)


def text(protocol: str, port: int) -> str:
    """As the catalogue writes it."""
    return f"{protocol}/{port}" if port else protocol


def probes(estate: Estate, places: list[Vantage], now: datetime, *, sample: bool = False) -> list[Probe]:
    """The packets of every cell that has a place in the twin, in both families, and what is wanted of each `now`.

    A sample has an allowed and a denied one of each service and family, each zone, partner and protocol, if there are.
    """
    every = _Cells(estate, places, now)
    found = list(every.probes())
    return list(_sample(estate, found)) if sample else found


def _sample(estate: Estate, every: list[Probe]) -> Iterator[Probe]:
    seen: set[tuple[object, ...]] = set()
    for probe in every:
        allowed = probe.allowed_by is not None
        zones = {_zone(estate, probe.source.place), _zone(estate, probe.target.place)}
        shows = {
            ("service", probe.target.service, probe.family, allowed),
            ("protocol", probe.protocol, probe.family, allowed),
            *(("zone", zone, allowed) for zone in zones),
        }
        if shows - seen:
            seen |= shows
            yield probe


def _zone(estate: Estate, place: str) -> str | None:
    """The zone or partner of a place; of firewalls their own name."""
    one = estate.places.get(place)
    return place if one is None else one.zone or one.partner or one.external


class _Cells:
    """The cells of one estate from these places, at one moment."""

    def __init__(self, estate: Estate, places: list[Vantage], now: datetime) -> None:
        self._estate, self._places = estate, places
        self._allowed = {(c.source.name, c.target.service, c.target.place): c.flow for c in estate.alive(now)}
        self._held = {(one.service, one.place): machine.name for machine in estate.machines.values()
                      for one in machine.services}  # fmt: skip
        self._held |= {(service, one.place): one.name for one in places for service in one.moved}
        self._everyones = [(name, one.ports) for name, one in estate.catalogue.services.items() if one.on == "everyone"]
        self._hops: dict[tuple[str, str, bool], tuple[Pair | None, bool]] = {}
        self._at: dict[str, list[Vantage]] = {}
        for one in places:
            self._at.setdefault(one.place, []).append(one)

    def probes(self) -> Iterator[Probe]:
        """All of them: to services that machines hold first, and from machines first."""
        senders = [one for one in self._places if one.kind != "firewall" or one.place.startswith(f"{INTER_SITE}.")]
        for target, holder in (*self._services(), *self._rest()):
            for source in senders:
                flow = self._flow(source.place, target.service, target.place) or self._anyones(source, target, holder)
                if source.name != holder.name and (
                    self._between(source, holder) or (flow and holder.kind == "machine")
                ):
                    yield from self._packets(source, target, holder, flow)
        for source in senders:
            yield from self._to_firewalls(source)

    def _flow(self, source: str, service: str, place: str) -> str | None:
        """What allows it: a flow from the place, or from the network that it is a part of, which all of it may use."""
        around = self._estate.places[source].leg if self._estate.places[source].partner else source
        return self._allowed.get((source, service, place)) or self._allowed.get((around, service, place))

    def _anyones(self, source: Vantage, target: ServiceAt, holder: Vantage) -> str | None:
        """What allows it because everyone in the Internet may: on one wire nobody tells who is there and who is not."""
        if self._wire(source) != self._wire(holder):
            return None
        everywhere = (name for name, place in self._estate.places.items() if place.prefix == EVERYWHERE)
        return next(filter(None, (self._flow(name, target.service, target.place) for name in everywhere)), None)

    def _wider(self, source: str, place: Place, port: str) -> str | None:
        """What allows it because everyone there, or in the network that the place is a part of, may be sent it."""
        at = (place.name, place.leg) if place.partner else (place.name,)
        found = (self._flow(source, name, one) for name, ports in self._everyones if port in ports for one in at)
        return next(filter(None, found), None)

    def _between(self, source: Vantage, holder: Vantage) -> bool:
        """Whether anything of ours is between them: a firewall, or on one segment the rules of a machine we manage."""
        if self._wire(source) != self._wire(holder):
            return True
        return self._estate.places[source.place].zone is not None and holder.name in self._estate.machines

    def _services(self) -> Iterator[tuple[ServiceAt, Vantage]]:
        found = [(_at_own(service, one) if own else service, one)
                 for service in self._estate.services for own, one in self._holders(service)]  # fmt: skip
        return iter(sorted(found, key=lambda it: it[1].kind == "stand"))

    def _holders(self, service: ServiceAt) -> Iterator[tuple[bool, Vantage]]:
        """Who has a service, and whether at its own address."""
        there = self._at.get(service.place, [])
        match self._estate.catalogue.services[service.service].on:
            case "address":
                name = self._held.get((service.service, service.place))
                yield from ((False, one) for one in there if one.name == name or (not name and one.kind == "stand"))
            case "machines":
                own = {str(target.ipv4.network_address) for target in service.targets}
                yield from ((True, one) for one in there if one.addresses[0] in own)
            case "pods":
                return  # their addresses are a node's to give, so no stand can have one
            case _:  # everyone: one stands for all; of firewalls both members of a pair
                pair = [one for one in there if self._estate.places[one.place].of_pair]
                yield from ((True, one) for one in pair or _first(there))

    def _rest(self) -> Iterator[tuple[ServiceAt, Vantage]]:
        """In every place an address, asked for what no service is."""
        for place in self._estate.places:
            there = self._at.get(place, [])
            for holder in _first(there) or there[:1]:
                yield _at_own(ServiceAt(REST, place, (), NO_SERVICE), holder), holder

    def _to_firewalls(self, source: Vantage) -> Iterator[Probe]:
        """Every firewall on the wire of a place, at its own address there; and of the site where it is managed."""
        site = self._estate.places[source.place].site
        for member in self._places:
            if member.kind != "firewall" or member.name == source.name:
                continue
            if self._wire(member) == self._wire(source):
                ports = (*NO_SERVICE, _SSH, *(port for _, ports in self._everyones for port in ports))
                yield from self._to_firewall(source, member, dict.fromkeys(ports))
            elif member.port == MANAGEMENT_PORTS and site == self._site(member):
                yield from self._to_firewall(source, member, (_SSH,))

    def _wire(self, one: Vantage) -> str:
        """What it shares with whoever needs no firewall to get there; firewalls stand on wires that are no place."""
        place = self._estate.places.get(one.place)
        return place.leg if place and not place.zone else one.place

    def _to_firewall(self, source: Vantage, member: Vantage, ports: Iterable[str]) -> Iterator[Probe]:
        for port in ports:
            target = ServiceAt(FIREWALL, f"{member.name}:{member.port}", (), (port,))
            yield from self._packets(source, _at_own(target, member), member, self._firewall_flow(source, member, port))

    def _firewall_flow(self, source: Vantage, member: Vantage, port: str) -> str | None:
        """What allows a packet to a firewall: that it is managed, or a service that everyone in the place has."""
        if port == _SSH and member.port == MANAGEMENT_PORTS and source.place == member.place:
            managers = {str(one.ipv4.network_address) for one in self._estate.managers(self._site(member))}
            return MANAGEMENT if source.addresses[0] in managers else None
        place = self._estate.places.get(member.place)
        return self._wider(source.place, place, port) if place and source.place == member.place else None

    def _site(self, member: Vantage) -> str:
        return self._estate.machines[member.name].site

    def _packets(self, source: Vantage, target: ServiceAt, holder: Vantage, flow: str | None) -> Iterator[Probe]:
        place = self._estate.places.get(target.place)
        site = str(place.site) if place else self._site(holder)
        first, routed = self._first_hop(source, site)
        routed = routed and not (place and without_route(self._estate, source, place))
        for pair in target.targets:
            for network in pair.both:
                hop = str(first.both[FAMILIES.index(network.version)].network_address) if first else None
                for protocol, port in _ports(target):
                    address = str(network.network_address)
                    by = flow or (self._wider(source.place, place, text(protocol, port)) if place else None)
                    yield Probe(source, target, holder, address, protocol, port, by, hop, routed)

    def _first_hop(self, source: Vantage, site: str) -> tuple[Pair | None, bool]:
        key = source.place, site, source.kind == "stand"
        if key not in self._hops:
            self._hops[key] = first_hop(self._estate, source, site)
        return self._hops[key]


def _first(there: list[Vantage]) -> list[Vantage]:
    """Who stands for everyone in a place: a machine, else the probe's own."""
    machines = [one for one in there if one.kind == "machine"]
    return machines[:1] or [one for one in there if one.kind == "stand"][:1]


def _at_own(service: ServiceAt, holder: Vantage) -> ServiceAt:
    """The service at the holder's own address."""
    return replace(service, targets=(Pair(*(ip_network(one) for one in holder.addresses)),))


def _ports(service: ServiceAt) -> Iterator[tuple[str, int]]:
    for text in service.ports:
        protocol, _, numbers = text.partition("/")
        for number in dict.fromkeys(numbers.split("-")):
            yield protocol, int(number or 0)
