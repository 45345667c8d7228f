"""The estate as a topology of the twin: one bridge a segment and an external network, machines and clients on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qhs.twin.topology import Client, File, Leg, Machine, Operator, Route, Topology
from stacks.model import Estate, addresses
from stacks.model.addresses import Pair
from stacks.model.enclave import Islander, islanders
from stacks.model.estate import BASTION, EVERYWHERE, FIREWALL, MANAGEMENT_PORTS, TUNNEL, WORKER, Interface, Place
from stacks.model.estate import Machine as Host

# Where users' devices stand in the Internet's prefix: above every partner's own.
INTERNET_CLIENT = 250 << 8
CLIENT_PORT = "eth0"
STAND = 201
"""Of the probe's own namespaces: above the number of every client."""
OUTSIDER = 202
"""Of those from which drills look on."""
# An empty file for a unit masks it.
OPEN = {"/etc/systemd/system/qhs-closed.service": File(content="")}
# A namespace is born with the host's own setting; a machine with two legs must not become a path between them.
STANDS_ALONE = {"net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0"}


def topology(estate: Estate) -> Topology:
    """Everything the twin of `estate` consists of, the enclave beside it included."""
    isles = islanders(estate)
    places = [
        *(port.place for host in estate.machines.values() for port in wired(host)),
        *(one.place for one in isles),
    ]
    sites = {host.site for host in estate.machines.values()}
    return Topology(
        bridges=tuple(dict.fromkeys(bridge(estate, place) for place in places)),
        machines=(
            *(_machine(estate, host) for host in estate.machines.values()),
            *(_islander(estate, one) for one in isles),
        ),
        clients=tuple(_client(estate, name) for name in estate.inventory.clients),
        operators=tuple(_operator(estate, site) for site in estate.inventory.sites if site in sites),
        between=tuple(estate.inventory.carriers),
    )


def bridge(estate: Estate, place: str) -> str:
    """The bridge of a place: the site's index and the zone, or the external network alone."""
    site, _, zone = place.partition(".")
    if site in estate.inventory.sites:
        return f"{estate.inventory.sites[site].index}-{zone}"
    return site


def wired(host: Host) -> tuple[Interface, ...]:
    """The ports of a machine that hang on a wire: what is between the sites comes and goes in tunnels."""
    return tuple(port for port in host.interfaces if port.name != TUNNEL)


def client_address(estate: Estate, name: str) -> Pair:
    """The address of a client, in both families."""
    client = estate.inventory.clients[name]
    return _placed(estate, estate.places[client.place], client.number)[0]


def _machine(estate: Estate, host: Host) -> Machine:
    legs = tuple(
        Leg(
            interface=port.name,
            bridge=bridge(estate, port.place),
            addresses=(*port.cidrs, *_held(host, port)),
            isolated=port.place.endswith(f".{MANAGEMENT_PORTS}") and BASTION not in host.roles,
        )
        for port in wired(host)
    )
    firewall = FIREWALL in host.roles
    return Machine(
        name=host.name,
        site=host.site,
        roles=host.roles,
        legs=legs,
        routes=() if firewall else tuple(_default(host)),
        sysctl={} if firewall else STANDS_ALONE,
        packages=any(service.service == "packages" for service in host.services),
        containers=WORKER in host.roles,
    )


def _islander(estate: Estate, one: Islander) -> Machine:
    """Its owner sets it up from offline media. The image lets in nobody but by a management port, which it has not, so
    that it begins open to the others of its island.
    """
    leg = Leg(interface=one.zone, bridge=bridge(estate, one.place), addresses=one.cidrs)
    return Machine(name=one.name, site=one.site, legs=(leg,), files=OPEN, island=True)


def _held(host: Host, port: Interface) -> Iterator[str]:
    """Service addresses that the machine has for good on this port."""
    for service in host.services:
        if service.place == port.place and service not in host.moving:
            for target in service.targets:
                yield from map(str, target.both)


def _default(host: Host) -> Iterator[Route]:
    for port in host.interfaces:
        if port.gateway is not None:
            yield from _routes(EVERYWHERE, port.gateway)


def _routes(destination: Pair, gateway: Pair) -> Iterator[Route]:
    for network, via in zip(destination.both, gateway.both, strict=True):
        yield Route(destination=str(network), via=str(via.network_address))


def stand(estate: Estate, place: Place) -> Client | None:
    """A namespace in a place for the probe alone, with whatever service addresses nobody there holds yet.

    All that it sends goes to our firewalls, also what a well-behaved neighbour would never send there. None: no
    firewall that runs has a leg there (the enclave, a site that is not built), or nobody else has (between the sites).
    """
    gateway = None if place.of_pair else stand_gateway(estate, place)
    if gateway is None:
        return None
    held = {(one.service, one.place) for machine in estate.machines.values() for one in machine.services}
    free = [one for one in estate.services if one.place == place.name and (one.service, one.place) not in held]
    own = [target for one in free if estate.catalogue.services[one.service].on == "address" for target in one.targets]
    routes = [*(() if place.site else _into_sites(estate, place)), *_routes(EVERYWHERE, gateway)]
    leg = _client_leg(estate, place, STAND, own)
    return Client(name=f"probe-{place.name.replace('.', '-')}", legs=(leg,), routes=tuple(routes))


def outsider(estate: Estate, place: Place) -> Client:
    """A namespace in a segment, from which a drill looks on: as one of those there, and no further than they get."""
    leg = _client_leg(estate, place, OUTSIDER)
    return Client(name=f"drill-{place.name.replace('.', '-')}", legs=(leg,), routes=tuple(_default_of(estate, place)))


def stand_gateway(estate: Estate, place: Place) -> Pair | None:
    """The address of a firewall that runs on the wire of a place."""
    entries = [site for site in estate.entry_sites(place) if site in estate.active_sites]
    if not entries:
        return None
    if place.zone is None:
        return estate.transit(entries[0], place.leg, addresses.GATEWAY)
    # A segment that is not routed through them has no gateway: then their first member.
    at = {"gateway": addresses.GATEWAY, "leg": addresses.FIREWALL + 1, "none": None}[
        estate.catalogue.zones[place.zone].firewall
    ]
    return None if at is None else addresses.host(place.prefix, at)


def _client(estate: Estate, name: str) -> Client:
    client = estate.inventory.clients[name]
    place = estate.places[client.place]
    routes = _default_of(estate, place) if place.site else _into_sites(estate, place)
    return Client(name=name, legs=(_client_leg(estate, place, client.number),), routes=tuple(routes))


def _client_leg(estate: Estate, place: Place, number: int, held: Iterable[Pair] = ()) -> Leg:
    address, link = _placed(estate, place, number)
    return Leg(
        interface=CLIENT_PORT,
        bridge=bridge(estate, (place.site and place.name) or place.leg),
        addresses=tuple(cidr for own in (address, *held) for cidr in addresses.with_length(own, link)),
    )


def _placed(estate: Estate, place: Place, number: int) -> tuple[Pair, Pair]:
    """A client's address, and the prefix that is on its link: an external network is one link."""
    if place.site:
        return addresses.host(place.prefix, addresses.CLIENT + number), place.prefix
    network = estate.inventory.externals[place.leg]
    link = Pair(network.ipv4, network.ipv6)
    if place.partner:
        return addresses.host(place.prefix, addresses.PARTNER_HOST + number), link
    return addresses.host(link, INTERNET_CLIENT + number), link


def _default_of(estate: Estate, place: Place) -> Iterator[Route]:
    yield from _routes(EVERYWHERE, addresses.host(place.prefix, addresses.GATEWAY))


def _into_sites(estate: Estate, place: Place) -> Iterator[Route]:
    for site in estate.entry_sites(place):
        if site in estate.active_sites:
            own = estate.inventory.sites[site]
            yield from _routes(Pair(own.ipv4, own.ipv6), estate.transit(site, place.leg, addresses.GATEWAY))


def _operator(estate: Estate, site: str) -> Operator:
    place = estate.places[f"{site}.{MANAGEMENT_PORTS}"]
    own = addresses.with_length(estate.operator(site), place.prefix)
    return Operator(bridge=bridge(estate, place.name), addresses=tuple(own))
