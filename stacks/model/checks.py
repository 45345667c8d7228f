"""What makes an estate wrong although every value is well-formed. One check a function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

from stacks.model import backups, cloud, expiry, ingress, objects, room
from stacks.model.addresses import Pair, text
from stacks.model.catalogue import Partner
from stacks.model.estate import FIREWALL, Estate
from stacks.model.source import Finding, Source

DR_SITE = "ndc"
LAST_PARTNER = 255
NAMED = 12
"""Names that a message lists before it says how many more there are."""


def run(estate: Estate, catalogue: Source, inventory: Source, now: datetime) -> Iterator[Finding]:
    """Every finding about an estate. References and indexes come first: without them there are no addresses."""
    broken = [*_references(estate, catalogue), *_inventory_references(estate, inventory)]
    yield from broken
    unplaced = list(_indexes(estate, catalogue))
    yield from unplaced
    yield from _names(estate, catalogue)
    yield from _single_owners(estate, catalogue)
    yield from _overlaps(estate, inventory)
    yield from _replicas(estate, catalogue)
    yield from expiry.refused(estate, catalogue, now)
    yield from _degraded_for_long(estate, inventory, now)
    if not broken and not unplaced:
        yield from _flows_to_nowhere(estate, catalogue)
        yield from _islands(estate, catalogue, inventory)
        yield from _mixed_breaks(estate, catalogue)
        yield from _destinations(estate, catalogue)
        yield from _used(estate, catalogue)
        yield from _led_to(estate, catalogue)
        yield from _held_services(estate, inventory)
        yield from _numbers(estate, inventory)
        yield from room.refused(estate, catalogue, inventory)


LONGEST_DEGRADED = timedelta(days=3)
"""A design choice: over a long weekend. A pair that is without a member for longer is a decision to take anew."""
SOON = timedelta(days=14)
"""Before an expiry or a review its owner is told."""


def expiring(estate: Estate, now: datetime) -> list[str]:
    """What a plan warns of: flows that have expired or will soon, and pairs that are written without a member."""
    texts = []
    for name, site in estate.inventory.sites.items():
        if site.degraded is not None:
            state = "is" if site.degraded.on(now) else "was"
            texts.append(
                f"site {name} {state} degraded until {site.degraded.until:%d/%m/%Y %H:%M} UTC: {site.degraded.reason}"
            )
    for name, flow in estate.catalogue.flows.items():
        if flow.expires is not None and flow.expires - now < SOON:
            verb = "expired" if flow.expired(now) else "expires"
            texts.append(f"flow {name} {verb} on {flow.expires:%d/%m/%Y %H:%M} UTC (owner {flow.owner})")
    return texts


def _degraded_for_long(estate: Estate, source: Source, now: datetime) -> Iterator[Finding]:
    for name, site in estate.inventory.sites.items():
        if site.degraded is not None and site.degraded.until - now > LONGEST_DEGRADED:
            at = source.at("sites", name, "degraded", "until")
            found = f"site {name} degraded until {site.degraded.until:%d/%m/%Y %H:%M} UTC"
            yield Finding(at, found, f"at most {LONGEST_DEGRADED.days} days from now")


def _references(estate: Estate, source: Source) -> Iterator[Finding]:
    cat = estate.catalogue
    outside = {*cat.externals, *cat.partners}
    sites = set(estate.inventory.sites)
    for kind in ("zones", "externals", "carriers", "partners", "services", "flows", "people", "tenants"):
        for name, element in getattr(cat, kind).items():
            yield from _known(source, (kind, name, "owner"), [element.owner], cat.owners, "owner")
    for name, zone in cat.zones.items():
        yield from _known(source, ("zones", name, "sites"), zone.sites, sites, "site")
        yield from _known(source, ("zones", name, "level"), [zone.level], cat.retention, "level of retention.yaml")
    for name, partner in cat.partners.items():
        yield from _known(source, ("partners", name, "via"), [partner.via], cat.externals, "external network")
    for name, service in cat.services.items():
        yield from _known(
            source, ("services", name, "places"), service.places, {*cat.zones, *outside}, "zone or partner"
        )
    for name, flow in cat.flows.items():
        yield from _known(source, ("flows", name, "source"), flow.source, {*cat.zones, *outside}, "zone or partner")
        yield from _known(source, ("flows", name, "to"), flow.to, cat.services, "service")
        for key, named in (("sites", flow.sites), ("into", flow.into)):
            yield from _known(source, ("flows", name, key), named or [], sites, "site")
    roles = {role for site in estate.inventory.sites.values() for group in site.groups.values() for role in group.roles}
    for name, people in cat.people.items():
        yield from _known(source, ("people", name, "roles"), people.roles or [], roles, "role of a machine")
    for name, tenant in cat.tenants.items():
        at = ("tenants", name)
        yield from _known(source, (*at, "accountable"), [tenant.accountable], cat.owners, "owner")
        yield from _known(source, (*at, "zone"), [tenant.zone], cat.zones, "zone")
        home = cat.zones.get(tenant.zone)
        where = (home.sites, f"site of {tenant.zone}") if home else (sites, "site")
        yield from _known(source, (*at, "sites"), tenant.sites, *where)
        yield from _known(source, (*at, "partners"), tenant.partners, cat.partners, "partner")
        yield from _known(source, (*at, "uses"), tenant.uses, cat.services, "service")
        yield from _known(source, (*at, "tier"), [tenant.tier], cat.tiers, "tier")


def _inventory_references(estate: Estate, source: Source) -> Iterator[Finding]:
    cat = estate.catalogue
    yield from _known(source, ("externals",), cat.externals, estate.inventory.externals, "external network")
    yield from _known(source, ("carriers",), cat.carriers, estate.inventory.carriers, "carrier")
    for site_name, site in estate.inventory.sites.items():
        at = ("sites", site_name)
        yield from _known(source, (*at, "carriers"), site.carriers, cat.carriers, "carrier")
        yield from _known(source, (*at, "externals"), site.externals, cat.externals, "external network")
        zones = {name for name, zone in cat.zones.items() if site_name in zone.sites}
        for name, group in site.groups.items():
            here = (*at, "groups", name)
            yield from _known(source, (*here, "racks"), group.racks, site.racks, "rack")
            yield from _known(source, (*here, "services"), group.services, cat.services, "service")
            if not group.racks:
                yield Finding(source.at(*here, "racks"), f"{site_name}-{name}1 in no rack", "a rack of the site")
            if group.zone is not None:
                yield from _known(source, (*here, "zone"), [group.zone], zones, f"zone at {site_name}")
            elif FIREWALL not in group.roles:
                yield Finding(source.at(*here), f"{site_name}-{name}1 without a zone", "the zone that it stands in")


def _known(
    source: Source, path: tuple[str, ...], names: Iterable[Any], known: Iterable[Any], what: str
) -> Iterator[Finding]:
    for name in names:
        if name not in known:
            yield Finding(source.at(*path), f"unknown {what} {name}", f"one of {_some(known)}")


def _some(known: Iterable[Any]) -> str:
    names = sorted(map(str, known))
    left = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {left} more" if left > 0 else "")


def _names(estate: Estate, source: Source) -> Iterator[Finding]:
    """Zones, external networks, carriers and partners share one space of names: flows and interfaces have them."""
    cat = estate.catalogue
    taken: dict[str, str] = {}
    for kind in ("zones", "externals", "carriers", "partners"):
        for name in getattr(cat, kind):
            first = taken.setdefault(name, kind)
            if first != kind:
                yield Finding(source.at(kind, name), f"{name} in {first} and in {kind}", "names that differ")


def _single_owners(estate: Estate, source: Source) -> Iterator[Finding]:
    """C-EXC-02: a database or a bucket belongs to one tenant; others come over the data bus."""
    cat = estate.catalogue
    for name in cat.tenants.keys() & objects.RESERVED:
        yield Finding(source.at("tenants", name), f"a tenant {name}, which is the estate itself", "another name")
    for kind in ("databases", "buckets"):
        own = objects.RESERVED | {backups.bucket(site) for site in estate.inventory.sites}
        taken = dict.fromkeys(own, "the estate itself") if kind == "buckets" else {}
        for name, tenant in cat.tenants.items():
            for one in getattr(tenant, kind):
                first = taken.setdefault(one, name)
                if first != name:
                    at = source.at("tenants", name, kind)
                    yield Finding(at, f"{one} of {name} belongs to {first}", "one tenant for each (C-EXC-02)")


def _indexes(estate: Estate, source: Source) -> Iterator[Finding]:
    cat = estate.catalogue
    taken: dict[tuple[str, str, int], str] = {}
    keys = [
        *((("zones", ""), zone.index, ("zones", name, "index")) for name, zone in cat.zones.items()),
        *((("partners", p.via), index, ("partners", name, "index"))
          for name, p in cat.partners.items() for index in range(p.index, p.index + _members(estate, p))),
        *((("services", place), service.number, ("services", name, "number"))
          for name, service in cat.services.items() if service.number for place in service.places),
    ]  # fmt: skip
    for scope, number, path in keys:
        first = taken.setdefault((*scope, number), path[1])
        if first != path[1]:
            yield Finding(source.at(*path), f"{path[2]} {number} of {path[1]} is taken by {first}", "a free one")
        if path[0] == "partners" and number > LAST_PARTNER:
            wanted = f"at most {LAST_PARTNER}: its network has no more prefixes"
            yield Finding(source.at(*path), f"index {number} of {path[1]}", wanted)


def _members(estate: Estate, partner: Partner) -> int:
    return 1 if partner.count == "one" else estate.inventory.delegation_offices


def _overlaps(estate: Estate, source: Source) -> Iterator[Finding]:
    """C-NET-16: sites and external networks are disjoint; segments are by their index."""
    inventory = estate.inventory
    named = [
        *((f"site {name}", site, ("sites", name)) for name, site in inventory.sites.items()),
        *((f"network {name}", net, ("externals", name)) for name, net in inventory.externals.items()),
        *((f"carrier {name}", net, ("carriers", name)) for name, net in inventory.carriers.items()),
    ]
    for (first, one, _), (second, other, path) in combinations(named, 2):
        for family in ("ipv4", "ipv6"):
            mine, theirs = getattr(other, family), getattr(one, family)
            if mine.overlaps(theirs):
                wanted = f"a prefix apart from {first}'s {theirs} (C-NET-16)"
                yield Finding(source.at(*path, family), f"{second} overlaps with {mine}", wanted)


def _replicas(estate: Estate, source: Source) -> Iterator[Finding]:
    """C-DR-01: what recovers in minutes runs at the National Data Centre too."""
    for name, tenant in estate.catalogue.tenants.items():
        tier = estate.catalogue.tiers.get(tenant.tier)
        if tier and tier.replica and tenant.information != "state-secret" and DR_SITE not in tenant.sites:
            at = source.at("tenants", name, "sites")
            yield Finding(
                at,
                f"{name} of tier {tenant.tier} only at {', '.join(tenant.sites)}",
                f"a replica at {DR_SITE}",
            )


def _flows_to_nowhere(estate: Estate, source: Source) -> Iterator[Finding]:
    alive = {one.flow for one in estate.conversations}
    for name, flow in estate.catalogue.flows.items():
        if name not in alive and not _waits_for_machines(estate, flow.to):
            wanted = "a source and a service that its scope and sites bring together"
            yield Finding(source.at("flows", name), f"flow {name} leads nowhere", wanted)


def _waits_for_machines(estate: Estate, services: list[str]) -> bool:
    """A service at each carrier has no target yet where the inventory has no such machine."""
    return all(estate.catalogue.services[service].on == "machines" for service in services)


def _islands(estate: Estate, catalogue: Source, inventory: Source) -> Iterator[Finding]:
    """Zones that firewalls do not route: no flow crosses their edge, and an island has no management port either."""
    zones = estate.catalogue.zones
    unrouted = {name for name, zone in zones.items() if zone.firewall != "gateway"}
    crossing = {
        (one.flow, zone)
        for one in estate.conversations
        for zone in (one.source.zone, one.destination.zone)
        if zone in unrouted and one.source.name != one.destination.name
    }
    for flow, zone in crossing:
        found = f"flow {flow} across the edge of {zone} (firewall: {zones[zone].firewall})"
        yield Finding(catalogue.at("flows", flow), found, "no flow where nothing is forwarded")
    for site_name, site in estate.inventory.sites.items():
        for name, group in site.groups.items():
            if group.zone and zones[group.zone].firewall == "none":
                at = inventory.at("sites", site_name, "groups", name, "zone")
                wanted = "no managed machine: a management port would join it to other networks (C-SEC-01)"
                yield Finding(at, f"{site_name}-{name}1 in the island {group.zone}", wanted)


def _mixed_breaks(estate: Estate, source: Source) -> Iterator[Finding]:
    for name, flow in estate.catalogue.flows.items():
        breaks = {bool(estate.catalogue.services[service].breaks) for service in flow.to}
        if len(breaks) > 1:
            yield Finding(source.at("flows", name, "to"), "services that break the chain and others", "two flows")


def _destinations(estate: Estate, source: Source) -> Iterator[Finding]:
    """C-NET-15: whoever is led outwards is led to something that has a name."""
    for name, flow in estate.catalogue.flows.items():
        outwards = {estate.catalogue.services[service].leads_out for service in flow.to}
        if outwards != {bool(flow.destinations)}:
            found = f"{len(flow.destinations)} destinations of flow {name} to {', '.join(flow.to)}"
            wanted = "some for services that lead out, and none for others (C-NET-15)"
            yield Finding(source.at("flows", name), found, wanted)


def _used(estate: Estate, source: Source) -> Iterator[Finding]:
    """What an application asks is where a flow leads its parts, at each of its sites."""
    for site in estate.inventory.sites:
        for place in cloud.places(estate, site):
            there = {one.service for one in place.reaches}
            for service in cloud.uses(estate.catalogue.tenants[place.name]):
                if service not in there:
                    found = f"{place.name} uses {service}, where no flow with `pods` leads from {site}.{place.zone}"
                    yield Finding(source.at("tenants", place.name), found, "such a flow, or an application without")


def _led_to(estate: Estate, source: Source) -> Iterator[Finding]:
    """People are led to an application within its zone: from another, no flow would let the way in ask its parts."""
    for name, tenant in estate.catalogue.tenants.items():
        way = ingress.service(tenant)
        places = estate.catalogue.services[way].places if way else [tenant.zone]
        if tenant.zone not in places:
            found = f"people come to {name}, which is in {tenant.zone}, by {way}"
            yield Finding(source.at("tenants", name, "zone"), found, f"a zone of {way}: {', '.join(places)}")


def _held_services(estate: Estate, source: Source) -> Iterator[Finding]:
    services = estate.catalogue.services
    for machine in estate.machines.values():
        at = source.at("sites", machine.site, "groups", machine.group, "services")
        places = {port.place.partition(".")[2] for port in machine.interfaces}
        for held in machine.services:
            if not places & set(services[held.service].places):
                yield Finding(at, f"{held.service} on {machine.name}", "a service of the machine's own zone")
        carried = [
            (name, port)
            for name, service in services.items()
            if service.on == "machines" and service.role in machine.roles and places & set(service.places)
            for port in service.ports
        ]
        for (first, one), (second, other) in combinations(carried, 2):
            if _share(one, other):
                yield Finding(at, f"{first} and {second} on {other} of {machine.name}", "one service a port")


def _share(one: str, other: str) -> bool:
    """Whether two of `tcp/443` and `udp/5000-5100` have a port in common."""
    (protocol, ports), (same, others) = (text.split("/") for text in (one, other))
    first, last = (int(number) for number in (ports.split("-") * 2)[:2])
    start, end = (int(number) for number in (others.split("-") * 2)[:2])
    return protocol == same and first <= end and start <= last


def _numbers(estate: Estate, source: Source) -> Iterator[Finding]:
    taken: dict[Pair, str] = {}
    for machine in estate.machines.values():
        for port in machine.interfaces:
            first = taken.setdefault(port.address, machine.name)
            if first != machine.name:
                at = source.at("sites", machine.site, "groups", machine.group, "number")
                yield Finding(at, f"{machine.name} and {first} at {text(port.address.ipv4)}", "numbers of their own")
