"""Probes: which packets to send, what is expected of each, and whether the world agrees."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from rich.table import Table

from qhs.net.probe.listener import listening
from qhs.net.probe.neighbour import answers
from qhs.net.probe.packets import Fate, send
from qhs.net.probe.vantage import Vantage
from stacks.model import Estate, addresses
from stacks.model.addresses import Pair
from stacks.model.estate import MANAGEMENT_PORTS, ServiceAt

SENDERS = 16


@dataclass(frozen=True)
class Probe:
    """One packet to send: from a place, to a port of a service that a machine holds."""

    source: Vantage
    target: ServiceAt
    holder: Vantage
    address: str
    protocol: str
    port: int
    allowed_by: str | None
    """The flow that allows it; none: it must not get through."""
    neighbour: str | None
    """The first address on its way, which answers while the wire works; none: its place has no such thing."""
    routed: bool
    """Its place has a gateway, so that rules stop it, not the want of a route."""


@dataclass(frozen=True)
class Result:
    """What became of a probe's packet."""

    probe: Probe
    fate: Fate

    @property
    def as_wanted(self) -> bool:
        """Allowed packets are answered; all others are stopped by a rule, so by one that they came to."""
        if self.probe.allowed_by is not None:
            return self.fate is Fate.OPEN
        return self.fate in (Fate.DROP, Fate.REJECT) or (self.fate is Fate.NO_ROUTE and not self.probe.routed)

    def __str__(self) -> str:
        probe = self.probe
        wanted = f"open by flow {probe.allowed_by}" if probe.allowed_by else "stopped by a rule"
        to = f"{probe.target.place} {probe.address} {probe.protocol}/{probe.port} ({probe.target.service})"
        return f"{probe.source.place} ({probe.source.name}) -> {to}: found {self.fate}; wanted {wanted}"


def probes(estate: Estate, places: list[Vantage], now: datetime, *, sample: bool = False) -> list[Probe]:
    """A packet from every place to every service that a machine holds, in both families, and what is wanted `now`.

    A sample is, for each service and family, the first that is allowed and the first that is not.
    """
    every = list(_every(estate, places, now))
    if not sample:
        return every
    first = {(one.target.service, ":" in one.address, one.allowed_by is None): one for one in reversed(every)}
    return list(first.values())


def _every(estate: Estate, places: list[Vantage], now: datetime) -> Iterator[Probe]:
    allowed = {(c.source.name, c.target.service, c.target.place): c.flow for c in estate.alive(now)}
    for service, holder in (*_held(estate, places), *_everyones(estate, places)):
        for source in places:
            if source.name != holder.name:
                flow = allowed.get((source.place, service.service, service.place))
                first, routed = _first_hop(estate, source, str(estate.places[service.place].site))
                for address in _addresses(service):
                    hop = str(first.both[":" in address].network_address) if first else None
                    for protocol, port in _ports(service):
                        yield Probe(source, service, holder, address, protocol, port, flow, hop, routed)


def _held(estate: Estate, places: list[Vantage]) -> Iterator[tuple[ServiceAt, Vantage]]:
    """Services at an address, with the machine that holds it."""
    for machine in estate.machines.values():
        for service in machine.services:
            for holder in places:
                if (holder.name, holder.place) == (machine.name, service.place):
                    yield service, holder


def _everyones(estate: Estate, places: list[Vantage]) -> Iterator[tuple[ServiceAt, Vantage]]:
    """Services that everyone in a place has: one machine of it, at its own address, stands for all."""
    for service in estate.services:
        there = [one for one in places if one.place == service.place and one.name in estate.machines]
        if estate.catalogue.services[service.service].on == "everyone" and there:
            yield replace(service, targets=(_own(estate, there[0]),)), there[0]


def _own(estate: Estate, holder: Vantage) -> Pair:
    return next(port.address for port in estate.machines[holder.name].interfaces if port.place == holder.place)


def _first_hop(estate: Estate, source: Vantage, site: str) -> tuple[Pair | None, bool]:
    """Whom a packet to a site comes to first, and whether that one routes: a gateway, or the operator's own port."""
    place = estate.places[source.place]
    if place.zone is None:
        reached = site in estate.entry_sites(place)
        return (estate.transit(site, place.leg, addresses.GATEWAY), True) if reached else (None, False)
    if estate.catalogue.zones[place.zone].firewall == "gateway":
        return addresses.host(place.prefix, addresses.GATEWAY), True
    return (estate.operator(str(place.site)) if place.zone == MANAGEMENT_PORTS else None), False


def run(chosen: list[Probe]) -> list[Result]:
    """Send every probe, several at a time, with listeners where they are due. Raises UserError.

    First each neighbour is asked: where it is silent, nothing is sent, and that is wanted of no packet.
    """
    with contextlib.ExitStack() as stack:
        held = {
            (holder, protocol, port, address)
            for (holder, protocol, port), due in _listeners(chosen).items()
            for address in stack.enter_context(listening(holder, protocol, tuple(due), port))
        }

        def fate(probe: Probe) -> Result:
            if (probe.source, probe.neighbour) in silent:
                return Result(probe, Fate.NO_WIRE)
            own = probe.source.addresses[":" in probe.address]
            echo = (probe.holder, probe.protocol, probe.port, probe.address) not in held
            found = probe.source.inside(lambda: send(probe.protocol, probe.address, probe.port, own, echo=echo))
            return Result(probe, found)

        with ThreadPoolExecutor(SENDERS) as pool:
            asked = {(probe.source, probe.neighbour) for probe in chosen if probe.neighbour}
            silent = {pair for pair, heard in zip(asked, pool.map(_heard, asked), strict=True) if not heard}
            return list(pool.map(fate, chosen))


def _heard(asked: tuple[Vantage, str]) -> bool:
    return answers(*asked)


def _listeners(chosen: list[Probe]) -> dict[tuple[Vantage, str, int], dict[str, None]]:
    due: dict[tuple[Vantage, str, int], dict[str, None]] = {}
    for probe in chosen:
        due.setdefault((probe.holder, probe.protocol, probe.port), {})[probe.address] = None
    return due


def _addresses(service: ServiceAt) -> Iterator[str]:
    for target in service.targets:
        yield from (str(network.network_address) for network in target.both)


def _ports(service: ServiceAt) -> Iterator[tuple[str, int]]:
    for text in service.ports:
        protocol, _, numbers = text.partition("/")
        if protocol in ("tcp", "udp"):
            yield protocol, int(numbers.partition("-")[0])


def row(result: Result) -> dict[str, object]:
    """A result for programs to read."""
    probe = result.probe
    return {
        "source": probe.source.place,
        "from": probe.source.name,
        "destination": probe.target.place,
        "service": probe.target.service,
        "address": probe.address,
        "port": f"{probe.protocol}/{probe.port}",
        "flow": probe.allowed_by,
        "fate": result.fate.value,
        "as_wanted": result.as_wanted,
    }


def table(results: list[Result]) -> Table:
    """Every packet's fate; what is not as wanted in red."""
    shown = Table("from", "to", "address", "port", "flow", "fate", title=f"{len(results)} packets")
    for one in results:
        probe = one.probe
        fate = one.fate.value if one.as_wanted else f"[bold red]{one.fate.value}[/bold red]"
        source = f"{probe.source.place} ({probe.source.name})"
        to = f"{probe.target.place} {probe.target.service}"
        port = f"{probe.protocol}/{probe.port}"
        shown.add_row(source, to, probe.address, port, probe.allowed_by or "[dim]none[/dim]", fate)
    return shown
