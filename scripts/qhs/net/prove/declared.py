"""What should be allowed, read a second time from catalogue and inventory.

Rules are made from `Estate.conversations`, `services` and `managers`; nothing here uses those, so that a fault in which
places a flow brings together, or at which addresses a service stands, makes the proof red. What the two have in common
is the address plan: the prefixes of places and the ports of machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from qhs.net.prove.space import ByFamily, Spans, spans_of
from stacks.model import Estate
from stacks.model.addresses import GATEWAY, SERVICE, Pair, host, pair, pods
from stacks.model.catalogue import Flow, Service
from stacks.model.estate import BASTION, FIREWALL, INTER_SITE, MANAGEMENT_PORTS


class Spot(NamedTuple):
    """One place that a zone, an external network or a partner stands for."""

    place: str
    home: str
    """Its site; none: outside."""
    network: str
    """Outside: the external network that it is reached over."""


class Pairing(NamedTuple):
    """A flow between one place and one service in one place."""

    flow: str
    source: str
    service: str
    place: str


def built(estate: Estate) -> tuple[str, ...]:
    """Sites with firewalls."""
    having = {machine.site for machine in estate.machines.values() if FIREWALL in machine.roles}
    return tuple(site for site in estate.inventory.sites if site in having)


def managers(estate: Estate, site: str) -> ByFamily[Spans]:
    """Who may manage the machines of a site: its bastions; in the twin the operator too, at the first address."""
    wire = f"{site}.{MANAGEMENT_PORTS}"
    bastions = [machine for machine in estate.machines.values() if machine.site == site and BASTION in machine.roles]
    ports = [port.address for machine in bastions for port in machine.interfaces if port.place == wire]
    if estate.inventory.environment == "twin" or not ports:
        ports.append(host(estate.places[wire].prefix, GATEWAY))
    return spans_of(ports)


def ends(estate: Estate, site: str, carrier: str) -> tuple[ByFamily[Spans], ByFamily[Spans]]:
    """Where the firewalls of a site, and those of every other site that has this carrier, stand in its network."""
    network = estate.inventory.carriers[carrier]
    found = {
        name: pair(Pair(network.ipv4, network.ipv6), one.index)
        for name, one in estate.inventory.sites.items()
        if carrier in one.carriers
    }
    own = found.pop(site)
    return spans_of([own]), spans_of(found.values())


def offers(estate: Estate) -> Iterator[tuple[str, str, ByFamily[Spans]]]:
    """Each service, each place that has it, and the addresses that it has there."""
    spots = _spots(estate)
    for name, service in estate.catalogue.services.items():
        for spot in (one for place in service.places for one in spots[place]):
            found = _addresses(estate, service, spot)
            if any(found.values()):
                yield name, spot.place, found


def pairings(estate: Estate) -> Iterator[Pairing]:
    """Each flow, laid between the places that its scope and its sites bring together."""
    spots = _spots(estate)
    services = estate.catalogue.services
    for name, flow in estate.catalogue.flows.items():
        sources = [spot for one in flow.source for spot in spots[one]]
        ends = [(service, spot) for service in flow.to for one in services[service].places for spot in spots[one]]
        for source, (service, target) in product(sources, ends):
            if not _barred(flow, source, target) and _meet(estate, flow, source, target):
                yield Pairing(name, source.place, service, target.place)


def _spots(estate: Estate) -> dict[str, list[Spot]]:
    catalogue, inventory = estate.catalogue, estate.inventory
    zones = {
        name: [Spot(f"{site}.{name}", site, "") for site in inventory.sites if site in zone.sites]
        for name, zone in catalogue.zones.items()
    }
    externals = {name: [Spot(name, "", name)] if name in estate.places else [] for name in catalogue.externals}
    # Between the sites nobody stands but their firewalls.
    externals[INTER_SITE] = [
        Spot(f"{INTER_SITE}.{name}", name, "") for name, site in inventory.sites.items() if INTER_SITE in site.externals
    ]
    partners = {
        name: [Spot(f"{one.via}.{name}", "", one.via)]
        if one.count == "one"
        else [Spot(f"{one.via}.{name}-{n + 1:02}", "", one.via) for n in range(inventory.delegation_offices)]
        for name, one in catalogue.partners.items()
    }
    return zones | externals | partners


def _addresses(estate: Estate, service: Service, spot: Spot) -> ByFamily[Spans]:
    place = estate.places[spot.place]
    if service.on == "machines":
        machines = [machine for machine in estate.machines.values() if service.role in machine.roles]
        return spans_of(port.address for one in machines for port in one.interfaces if port.place == spot.place)
    if service.on == "pods":
        return spans_of([pods(place.prefix)])
    if service.number is None:
        return spans_of([place.prefix])
    return spans_of([host(place.sample or place.prefix, SERVICE + service.number)])


def _barred(flow: Flow, source: Spot, target: Spot) -> bool:
    """`sites` of a flow is about our own: a place outside is at none. `into` names all that it leads to."""
    leaves = not source.home or flow.sites is None or source.home in flow.sites
    return not leaves or (flow.into is not None and target.home not in flow.into)


def _meet(estate: Estate, flow: Flow, source: Spot, target: Spot) -> bool:
    if source.home and target.home:
        return flow.scope == "any" or (flow.scope == "cross") == (source.home != target.home)
    outer = {one.network for one in (source, target) if not one.home}
    sites = [one.home for one in (source, target) if one.home] or list(estate.inventory.sites)
    return any(outer <= set(estate.inventory.sites[site].externals) for site in sites)
