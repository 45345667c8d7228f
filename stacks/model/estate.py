"""The estate: catalogue and inventory joined, everything derived once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from ipaddress import ip_network

from stacks.model import addresses
from stacks.model.addresses import Pair
from stacks.model.catalogue import Catalogue, Flow, Service
from stacks.model.inventory import Environment, Group, Prefixes

EVERYWHERE = Pair(ip_network("0.0.0.0/0"), ip_network("::/0"))
FIREWALL = "firewall"
HSM = "hsm"
SECRETS = "secrets"
BASTION = "bastion"
APPLICATION = "application"
CONTROL = "control-plane"
WORKER = "worker"
"""A node of the site's cluster: it runs containers."""
DATABASE = "database"
QUORUM = "database-quorum"
LEASE = "lease"
"""The role, and the service, of those who agree on which database leads."""
MANAGEMENT_PORTS = "mgmt-ports"
SYNC = "sync"
TRACKING_PORT, PEER_PORT = 3780, 3781
"""Where the members of a pair hand each other, on `sync`, the connections that they track (UDP) and their confirmed
ruleset (TCP)."""
INTER_SITE = "dci"
TUNNEL = "ipsec0"
"""The leg of the firewalls between the sites. In the twin charon makes it, under this name and no other."""


@dataclass(frozen=True)
class Place:
    """Where a conversation starts or ends: a segment; an external network, or a partner or firewalls of ours in one."""

    name: str
    leg: str
    """Interface of the firewalls behind which it lies."""
    prefix: Pair
    site: str | None = None
    zone: str | None = None
    external: str | None = None
    partner: str | None = None
    sample: Pair | None = None
    """Where its prefix is everywhere: the part of it that a test may use."""

    @property
    def of_pair(self) -> bool:
        """Whether it is where a site's own firewalls speak from to other sites."""
        return self.site is not None and self.external is not None


@dataclass(frozen=True)
class Interface:
    """A port of a machine in a place."""

    name: str
    place: str
    address: Pair
    cidrs: tuple[str, ...]
    """The address with its segment's length, in both families."""
    gateway: Pair | None = None


@dataclass(frozen=True)
class Machine:
    """A host of the estate."""

    name: str
    site: str
    group: str
    roles: tuple[str, ...]
    rack: str
    interfaces: tuple[Interface, ...]
    services: tuple[ServiceAt, ...] = ()
    """Services whose address this machine holds when all is well."""
    moving: tuple[ServiceAt, ...] = ()
    """Services whose address is with whichever machine of its group can serve them, this one among them."""

    @property
    def management(self) -> Interface:
        """The port that it is managed by."""
        return self.interface(MANAGEMENT_PORTS)

    @property
    def addresses(self) -> list[str]:
        """On the segment of its zone, IPv4 first."""
        return self.interfaces[0].address.texts()

    @property
    def answers_at(self) -> tuple[Pair, ...]:
        """The addresses of services that are this machine's, or come to be when another one dies."""
        return tuple(dict.fromkeys(pair for one in (*self.services, *self.moving) for pair in one.targets))

    def interface(self, name: str) -> Interface:
        """The port of this name."""
        return next(port for port in self.interfaces if port.name == name)


@dataclass(frozen=True)
class ServiceAt:
    """A service in one place."""

    service: str
    place: str
    targets: tuple[Pair, ...]
    ports: tuple[str, ...]


@dataclass(frozen=True)
class Conversation:
    """One flow between one source and one service in one place."""

    flow: str
    source: Place
    target: ServiceAt
    destination: Place


@dataclass(frozen=True)
class Estate:
    """Everything one environment has. Build it with `stacks.model.load`."""

    catalogue: Catalogue
    inventory: Environment

    @cached_property
    def active_sites(self) -> tuple[str, ...]:
        """Sites that have firewalls, so that they can be applied."""
        return tuple(name for name in self.inventory.sites if self.firewalls(name))

    @cached_property
    def places(self) -> dict[str, Place]:
        """Every segment, external network and partner, by name."""
        return {place.name: place for place in (*self._segments(), *self._outside())}

    @cached_property
    def machines(self) -> dict[str, Machine]:
        """Every machine, by name."""
        found = {}
        for site_name, site in self.inventory.sites.items():
            for group_name, group in site.groups.items():
                for position in range(group.count):
                    machine = self._machine(site_name, group_name, group, position)
                    found[machine.name] = machine
        return found

    @cached_property
    def services(self) -> tuple[ServiceAt, ...]:
        """Every service in every place that has it."""
        return tuple(
            ServiceAt(name, place.name, self._targets(service, place), tuple(service.ports))
            for name, service in self.catalogue.services.items()
            for place in self.named(*service.places)
        )

    @cached_property
    def conversations(self) -> tuple[Conversation, ...]:
        """Every allowed conversation: what is not among them is denied."""
        at: dict[str, list[ServiceAt]] = {}
        for one in self.services:
            at.setdefault(one.service, []).append(one)
        return tuple(
            Conversation(name, source, target, self.places[target.place])
            for name, flow in self.catalogue.flows.items()
            for source in self.named(*flow.source)
            for service in flow.to
            for target in at.get(service, ())
            if target.targets and self._in_scope(flow, source, self.places[target.place])
        )

    def alive(self, now: datetime) -> tuple[Conversation, ...]:
        """The conversations whose flow has not expired at `now`."""
        flows = self.catalogue.flows
        return tuple(one for one in self.conversations if not flows[one.flow].expired(now))

    def named(self, *names: str) -> Iterator[Place]:
        """The places that zones, external networks or partners of these names have."""
        for place in self.places.values():
            if (place.zone or place.partner or place.external) in names:
                yield place

    def firewalls(self, site: str) -> tuple[str, ...]:
        """The members of a site's firewall pair."""
        return tuple(
            f"{site}-{name}{position + 1}"
            for name, group in self.inventory.sites[site].groups.items()
            if FIREWALL in group.roles
            for position in range(group.count)
        )

    def with_role(self, site: str, role: str) -> list[Machine]:
        """The machines of a site that have a role."""
        return [one for one in self.machines.values() if one.site == site and role in one.roles]

    def entry_sites(self, place: Place) -> tuple[str, ...]:
        """Sites whose firewalls have a leg towards a place."""
        if place.site:
            return (place.site,)
        return tuple(name for name, site in self.inventory.sites.items() if place.leg in site.externals)

    def managers(self, site: str) -> tuple[Pair, ...]:
        """Addresses that may manage the machines of a site: its bastions; in the twin the operator's own too."""
        bastions = [m for m in self.machines.values() if m.site == site and BASTION in m.roles]
        found = [m.management.address for m in bastions]
        return (*found, self.operator(site)) if self.inventory.environment == "twin" or not found else tuple(found)

    def people(self, machine: Machine) -> tuple[str, ...]:
        """The groups of persons who may enter a machine. A bastion they only pass."""
        if BASTION in machine.roles:
            return ()
        found = self.catalogue.people.items()
        return tuple(name for name, one in found if one.roles is None or set(one.roles) & set(machine.roles))

    def domain(self, site: str) -> str:
        """The domain of the names of a site's services."""
        return f"{site}.{self.inventory.domain}"

    def served(self, site: str) -> tuple[ServiceAt, ...]:
        """The services whose address a machine of a site holds."""
        return tuple(one for machine in self.machines.values() if machine.site == site for one in machine.services)

    def operator(self, site: str) -> Pair:
        """The address from which `qhs` itself reaches the management ports of a site."""
        return addresses.host(self.places[f"{site}.{MANAGEMENT_PORTS}"].prefix, addresses.GATEWAY)

    def _segments(self) -> Iterator[Place]:
        for site_name, site in self.inventory.sites.items():
            for zone_name, zone in self.catalogue.zones.items():
                if site_name in zone.sites:
                    prefix = addresses.segment(_pair(site), zone.index)
                    yield Place(f"{site_name}.{zone_name}", zone_name, prefix, site=site_name, zone=zone_name)

    def _outside(self) -> Iterator[Place]:
        for name, external in self.catalogue.externals.items():
            prefix = _pair(self.inventory.externals[name])
            if external.medium == "internet":
                yield Place(name, name, EVERYWHERE, external=name, sample=prefix)
            elif external.medium == "tslcd":
                yield Place(name, name, prefix, external=name)
            elif external.medium == "dci":
                for site_name, site in self.inventory.sites.items():
                    if name in site.externals:
                        yield Place(
                            f"{name}.{site_name}", TUNNEL, self.ends(site_name, name), site=site_name, external=name
                        )
        for name, partner in self.catalogue.partners.items():
            count = 1 if partner.count == "one" else self.inventory.delegation_offices
            for position in range(count):
                own = name if partner.count == "one" else f"{name}-{position + 1:02}"
                network = _pair(self.inventory.externals[partner.via])
                prefix = addresses.partner(network, partner.index + position)
                yield Place(f"{partner.via}.{own}", partner.via, prefix, external=partner.via, partner=name)

    def _machine(self, site: str, group_name: str, group: Group, position: int) -> Machine:
        name = f"{site}-{group_name}{position + 1}"
        if FIREWALL in group.roles:
            ports = tuple(self._firewall_ports(site, position))
        else:
            zones = [group.zone, MANAGEMENT_PORTS] if group.zone else [MANAGEMENT_PORTS]
            ports = tuple(self._host_port(site, zone, group.number + position) for zone in zones)
        at = tuple(self._at(site, group.zone, key) for key in sorted(set(group.services)) if group.zone)
        moving = tuple(one for one in at if group.count > 1 and self.catalogue.services[one.service].moves)
        return Machine(
            name,
            site,
            group_name,
            tuple(group.roles),
            group.racks[position % len(group.racks)],
            ports,
            at if position == 0 else (),
            moving,
        )

    def sharers(self, machine: Machine) -> tuple[Machine, ...]:
        """The machines of its group, itself among them, in the order in which they take the addresses that move."""
        group = (machine.site, machine.group)
        return tuple(one for one in self.machines.values() if one.moving and (one.site, one.group) == group)

    def _host_port(self, site: str, zone: str, number: int) -> Interface:
        place = self.places[f"{site}.{zone}"]
        address = addresses.host(place.prefix, addresses.MACHINE + number)
        gateway = addresses.host(place.prefix, addresses.GATEWAY)
        routed = self.catalogue.zones[zone].firewall == "gateway"
        cidrs = tuple(addresses.with_length(address, place.prefix))
        return Interface(zone, place.name, address, cidrs, gateway if routed else None)

    def _firewall_ports(self, site: str, position: int) -> Iterator[Interface]:
        member = addresses.FIREWALL + 1 + position
        for place in self.places.values():
            if place.site == site and place.zone and self.catalogue.zones[place.zone].firewall != "none":
                address = addresses.host(place.prefix, member)
                cidrs = tuple(addresses.with_length(address, place.prefix))
                gateway = addresses.host(place.prefix, addresses.GATEWAY)
                routed = self.catalogue.zones[place.zone].firewall == "gateway"
                yield Interface(place.leg, place.name, address, cidrs, gateway if routed else None)
        for name in (*self.inventory.sites[site].externals, *self.inventory.sites[site].carriers):
            address = self.transit(site, name, member)
            if name == INTER_SITE:
                yield Interface(TUNNEL, name, address, tuple(map(str, address.both)))
            else:
                cidrs = tuple(addresses.with_length(address, self.network(name)))
                yield Interface(name, name, address, cidrs, self.transit(site, name, addresses.GATEWAY))

    def network(self, name: str) -> Pair:
        """The prefixes of an external network or of a carrier's."""
        return _pair((self.inventory.externals | self.inventory.carriers)[name])

    def ends(self, site: str, name: str) -> Pair:
        """The prefix of a site's firewalls in an external network or a carrier's."""
        return addresses.pair(self.network(name), self.inventory.sites[site].index)

    def transit(self, site: str, name: str, offset: int) -> Pair:
        """An address of a site's firewalls in an external network or a carrier's: offset 1 is the pair's own."""
        return addresses.host(self.ends(site, name), offset)

    def peers(self, site: str, carrier: str) -> tuple[str, ...]:
        """The other sites that a carrier joins to a site."""
        return tuple(name for name, one in self.inventory.sites.items() if name != site and carrier in one.carriers)

    @staticmethod
    def pair_name(site: str) -> str:
        """What both members of a site's firewall pair are together."""
        return f"{site}-fw"

    def _at(self, site: str, zone: str, key: str) -> ServiceAt:
        service, place = self.catalogue.services[key], self.places[f"{site}.{zone}"]
        address = addresses.host(place.prefix, addresses.SERVICE + (service.number or 0))
        return ServiceAt(key, place.name, (address,), tuple(service.ports))

    def _targets(self, service: Service, place: Place) -> tuple[Pair, ...]:
        if service.on == "everyone":
            return (place.prefix,)
        if service.on == "pods":
            return (addresses.pods(place.prefix),)
        if service.on == "address":
            return (addresses.host(place.sample or place.prefix, addresses.SERVICE + (service.number or 0)),)
        return tuple(
            port.address
            for machine in self.machines.values()
            if service.role in machine.roles
            for port in machine.interfaces
            if port.place == place.name
        )

    def _in_scope(self, flow: Flow, source: Place, destination: Place) -> bool:
        if flow.sites is not None and source.site not in (*flow.sites, None):
            return False
        if flow.into is not None and destination.site not in flow.into:
            return False
        sources, destinations = set(self.entry_sites(source)), set(self.entry_sites(destination))
        if source.site and destination.site:
            same = source.site == destination.site
            return same if flow.scope == "site" else not same if flow.scope == "cross" else True
        return bool(sources & destinations)


def _pair(one: Prefixes) -> Pair:
    return Pair(one.ipv4, one.ipv6)
