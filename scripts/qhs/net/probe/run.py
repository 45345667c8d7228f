"""Probes: which packets to send, what is expected of each, and whether the world agrees."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from rich.table import Table

from qhs.net.probe.listener import listening
from qhs.net.probe.packets import Fate, send
from qhs.net.probe.vantage import Vantage
from stacks.model import Estate
from stacks.model.estate import ServiceAt

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


@dataclass(frozen=True)
class Result:
    """What became of a probe's packet."""

    probe: Probe
    fate: Fate

    @property
    def as_wanted(self) -> bool:
        """Allowed packets are answered, all others never."""
        return (self.fate is Fate.OPEN) == (self.probe.allowed_by is not None)

    def __str__(self) -> str:
        probe = self.probe
        wanted = f"open by flow {probe.allowed_by}" if probe.allowed_by else "no way through"
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
    holders = [
        (service, holder)
        for machine in estate.machines.values()
        for service in machine.services
        for holder in places
        if (holder.name, holder.place) == (machine.name, service.place)
    ]
    for service, holder in holders:
        for source in places:
            if source.name != holder.name:
                flow = allowed.get((source.place, service.service, service.place))
                for address in _addresses(service):
                    for protocol, port in _ports(service):
                        yield Probe(source, service, holder, address, protocol, port, flow)


def run(chosen: list[Probe]) -> list[Result]:
    """Send every probe, several at a time, with listeners where they are due."""
    with contextlib.ExitStack() as stack:
        for holder, protocol, port, addresses in _listeners(chosen):
            stack.enter_context(listening(holder, protocol, addresses, port))
        with ThreadPoolExecutor(SENDERS) as pool:
            return list(pool.map(_fate, chosen))


def _fate(probe: Probe) -> Result:
    own = probe.source.addresses[":" in probe.address]
    return Result(probe, probe.source.inside(lambda: send(probe.protocol, probe.address, probe.port, own)))


def _listeners(chosen: list[Probe]) -> Iterator[tuple[Vantage, str, int, tuple[str, ...]]]:
    due: dict[tuple[Vantage, str, int], dict[str, None]] = {}
    for probe in chosen:
        due.setdefault((probe.holder, probe.protocol, probe.port), {})[probe.address] = None
    for (holder, protocol, port), addresses in due.items():
        yield holder, protocol, port, tuple(addresses)


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
