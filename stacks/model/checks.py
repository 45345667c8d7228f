"""What makes an estate wrong although every value is well-formed. One check a function."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import yaml

from stacks.model.addresses import Pair
from stacks.model.estate import FIREWALL, Estate
from stacks.model.source import REPO, Finding, Source

DR_SITE = "ndc"


def run(estate: Estate, catalogue: Source, inventory: Source, now: datetime) -> Iterator[Finding]:
    """Every finding about an estate. References come first: the other checks need them whole."""
    broken = [*_references(estate, catalogue), *_inventory_references(estate, inventory)]
    yield from broken
    yield from _indexes(estate, catalogue)
    yield from _overlaps(estate, inventory)
    yield from _replicas(estate, catalogue)
    yield from _expiries(estate, catalogue, now)
    if not broken:
        yield from _flows_to_nowhere(estate, catalogue)
        yield from _mixed_breaks(estate, catalogue)
        yield from _held_services(estate, inventory)
        yield from _numbers(estate, inventory)


def expiring(estate: Estate, now: datetime, days: int = 14) -> list[str]:
    """Flows that have expired, or will within `days`: they are blocked from that second, and a plan warns."""
    texts = []
    for name, flow in estate.catalogue.flows.items():
        if flow.expires is not None and (flow.expires - now).days < days:
            verb = "expired" if flow.expires <= now else "expires"
            texts.append(f"flow {name} {verb} on {flow.expires:%d/%m/%Y %H:%M} UTC (owner {flow.owner})")
    return texts


def _references(estate: Estate, source: Source) -> Iterator[Finding]:
    cat = estate.catalogue
    outside = {*cat.externals, *cat.partners}
    sites = set(estate.inventory.sites)
    for kind in ("zones", "externals", "carriers", "partners", "services", "flows", "tenants"):
        for name, element in getattr(cat, kind).items():
            yield from _known(source, (kind, name, "owner"), [element.owner], cat.owners, "owner")
    for name, zone in cat.zones.items():
        yield from _known(source, ("zones", name, "sites"), zone.sites, sites, "site")
    for name, partner in cat.partners.items():
        yield from _known(source, ("partners", name, "via"), [partner.via], cat.externals, "external network")
    for name, service in cat.services.items():
        yield from _known(
            source, ("services", name, "places"), service.places, {*cat.zones, *outside}, "zone or partner"
        )
    for name, flow in cat.flows.items():
        yield from _known(source, ("flows", name, "source"), flow.source, {*cat.zones, *outside}, "zone or partner")
        yield from _known(source, ("flows", name, "to"), flow.to, cat.services, "service")
        yield from _known(source, ("flows", name, "sites"), flow.sites or [], sites, "site")
    for name, tenant in cat.tenants.items():
        at = ("tenants", name)
        yield from _known(source, (*at, "accountable"), [tenant.accountable], cat.owners, "owner")
        yield from _known(source, (*at, "zone"), [tenant.zone], cat.zones, "zone")
        yield from _known(source, (*at, "sites"), tenant.sites, sites, "site")
        yield from _known(source, (*at, "partners"), tenant.partners, cat.partners, "partner")
        yield from _known(source, (*at, "tier"), [tenant.tier], cat.tiers, "tier")


def _inventory_references(estate: Estate, source: Source) -> Iterator[Finding]:
    cat = estate.catalogue
    yield from _known(source, ("externals",), cat.externals, estate.inventory.externals, "external network")
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
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")  # noqa: PLR2004


def _indexes(estate: Estate, source: Source) -> Iterator[Finding]:
    cat = estate.catalogue
    taken: dict[tuple[str, str, int], str] = {}
    keys = [
        *((("zones", ""), zone.index, ("zones", name, "index")) for name, zone in cat.zones.items()),
        *((("partners", p.via), p.index + step, ("partners", name, "index"))
          for name, p in cat.partners.items()
          for step in range(estate.inventory.delegation_offices if p.count != "one" else 1)),
        *((("services", place), service.number, ("services", name, "number"))
          for name, service in cat.services.items() if service.number for place in service.places),
    ]  # fmt: skip
    for scope, number, path in keys:
        first = taken.setdefault((*scope, number), path[1])
        if first != path[1]:
            yield Finding(source.at(*path), f"{path[2]} {number} of {path[1]} is taken by {first}", "a free one")


def _overlaps(estate: Estate, source: Source) -> Iterator[Finding]:
    """C-NET-16: sites and external networks are disjoint; segments are by their index."""
    inventory = estate.inventory
    named = [
        *((f"site {name}", site, ("sites", name)) for name, site in inventory.sites.items()),
        *((f"network {name}", net, ("externals", name)) for name, net in inventory.externals.items()),
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


def _expiries(estate: Estate, source: Source, now: datetime) -> Iterator[Finding]:
    """A newly added expiry in the past is a mistake; one that has passed since is a fact (see `expiring`)."""
    past = {n: f for n, f in estate.catalogue.flows.items() if f.expires is not None and f.expires <= now}
    committed = _committed_expiries(source) if past else {}
    for name, flow in past.items():
        if committed.get(name) != flow.expires:
            at = source.at("flows", name, "expires")
            yield Finding(at, f"flow {name} expires on {flow.expires:%d/%m/%Y %H:%M} UTC, in the past", "a later one")


def _committed_expiries(source: Source) -> dict[str, datetime | None]:
    """The expiries that the last commit has; none where there is no commit to ask."""
    path = source.path / "flows.yaml"
    if not path.is_relative_to(REPO):
        return {}
    command = ["git", "-C", str(REPO), "show", f"HEAD:{path.relative_to(REPO)}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    flows = yaml.safe_load(shown.stdout) or {} if shown.returncode == 0 else {}
    return {name: _utc(flow["expires"]) for name, flow in flows.items() if "expires" in flow}


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _flows_to_nowhere(estate: Estate, source: Source) -> Iterator[Finding]:
    alive = {one.flow for one in estate.conversations}
    for name, flow in estate.catalogue.flows.items():
        if name not in alive and not _waits_for_machines(estate, flow.to):
            wanted = "a source and a service that its scope and sites bring together"
            yield Finding(source.at("flows", name), f"flow {name} leads nowhere", wanted)


def _waits_for_machines(estate: Estate, services: list[str]) -> bool:
    """A service at each carrier has no target yet where the inventory has no such machine."""
    return all(estate.catalogue.services[service].on == "machines" for service in services)


def _mixed_breaks(estate: Estate, source: Source) -> Iterator[Finding]:
    for name, flow in estate.catalogue.flows.items():
        breaks = {bool(estate.catalogue.services[service].breaks) for service in flow.to}
        if len(breaks) > 1:
            yield Finding(source.at("flows", name, "to"), "services that break the chain and others", "two flows")


def _held_services(estate: Estate, source: Source) -> Iterator[Finding]:
    for machine in estate.machines.values():
        ports: dict[str, str] = {}
        at = source.at("sites", machine.site, "groups", machine.group, "services")
        places = {port.place.partition(".")[2] for port in machine.interfaces}
        for held in machine.services:
            if not places & set(estate.catalogue.services[held.service].places):
                yield Finding(at, f"{held.service} on {machine.name}", "a service of the machine's own zone")
        for name, service in estate.catalogue.services.items():
            if service.on == "machines" and service.role in machine.roles:
                for port in service.ports:
                    first = ports.setdefault(port, name)
                    if first != name:
                        yield Finding(at, f"{first} and {name} on {port} of {machine.name}", "one service a port")


def _numbers(estate: Estate, source: Source) -> Iterator[Finding]:
    taken: dict[Pair, str] = {}
    for machine in estate.machines.values():
        for port in machine.interfaces:
            first = taken.setdefault(port.address, machine.name)
            if first != machine.name:
                at = source.at("sites", machine.site, "groups", machine.group, "number")
                yield Finding(at, f"{machine.name} and {first} at {port.address.ipv4}", "numbers of their own")
