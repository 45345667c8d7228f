"""C-DR-02 and C-DR-09: each centre stands by itself, and is as well kept as the other."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from policies.baseline import Baseline
from policies.facts import Centre, PlanFacts, Record, Segment, Site, SiteNames, ZoneAt
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict

GROUPS = "have a group of machines for it (inventories/*/estate.yaml)"
ONE_PLACE = "one-place"
"""The limit of an environment whose sites are all at one place."""
OTHER = 2
"""How many it takes for one of them to be another one."""


class Alone(Strict):
    """What the Assembly has at its own centre and buildings alone: kinds of zones, and roles of machines."""

    kinds: list[str]
    roles: list[str]


class Own(Strict):
    """What a centre must not have to ask another one for: services, and roles of machines that have none."""

    services: list[str]
    roles: list[str]


class PlacesApart(Rule[Site]):
    """There are two centres or more, and no two are at one place."""

    control = "C-DR-02"
    name = "places-apart"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Site]]:
        if isinstance(resource, Site):
            yield "centres", resource

    def judge(self, resource: Resource, subject: Site) -> Iterator[Fault]:
        centres = known(subject.centres, "centres").items()
        places = {name: known(known(one, f"centres.{name}").facility, "facility") for name, one in centres}
        if len(places) < OTHER:
            yield Fault(f"{', '.join(places) or 'none'} alone", f"{OTHER} or more", "have databases at another site")
        elif len(set(places.values())) < len(places):
            yield Fault(f"several in {min(places.values())}", "places that differ", "move one", ONE_PLACE)


class SameZones(Rule[tuple[str, ZoneAt]]):
    """What the other centre has as a zone of its own is one here, under the same rules: those of its kind and level."""

    control = "C-DR-02"
    name = "same-zones"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Alone.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[str, ZoneAt]]]:
        for other, one, _ in _others(resource):
            for name, shown in known(one.zones, f"zones of {other}").items():
                zone = known(shown, f"{other}.{name}")
                if known(zone.kind, "kind") not in self.limits.kinds:
                    yield f"{name} of {other}", (name, zone)

    def judge(self, resource: Resource, subject: tuple[str, ZoneAt]) -> Iterator[Fault]:
        name, zone = subject
        own = [one for one in self.plan.each(Segment) if one.parent == resource.urn and known(one.zone, "zone") == name]
        if not own:
            yield Fault("no segment of it", "one", "have both sites in its `sites` (stacks/catalogue/zones.yaml)")
        for one in own:
            here = (known(one.kind, "kind"), known(one.firewall, "firewall"), known(one.level, "level"))
            there = (known(zone.kind, "kind"), known(zone.firewall, "firewall"), known(zone.level, "level"))
            if here != there:
                yield Fault(_kept(*here), _kept(*there), "declare it as it is there")


class SameRoles(Rule[tuple[Centre, str]]):
    """A role of machines makes them what they are, hardening included: each of the other centre's is here as well."""

    control = "C-DR-02"
    name = "same-roles"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Alone.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Centre, str]]]:
        for other, one, own in _others(resource):
            for role in known(one.roles, f"roles of {other}"):
                if role not in self.limits.roles:
                    yield f"{role} of {other}", (own, role)

    def judge(self, resource: Resource, subject: tuple[Centre, str]) -> Iterator[Fault]:
        own, role = subject
        if role not in known(own.roles, "roles"):
            yield Fault("no machine of it", "one", GROUPS)


class OwnServices(Rule[tuple[Site, str]]):
    """Each of these services has a name below the domain of a centre, which leads to addresses of that site."""

    control = "C-DR-09"
    name = "own-services"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Own.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Site, str]]]:
        if isinstance(resource, Site) and _own(resource):
            for service in self.limits.services:
                yield service, (resource, service)

    def judge(self, resource: Resource, subject: tuple[Site, str]) -> Iterator[Fault]:
        site, service = subject
        name = f"{service}.{known(site.site, 'site')}"
        own = {one.urn for one in self.plan.each(SiteNames) if one.parent == site.urn}
        found = [one for one in self.plan.each(Record) if one.parent in own and one.name == name]
        if not found:
            yield Fault("no name of it", "one", GROUPS)
        for one in found:
            if foreign := [address for address in known(one.addresses, "addresses") if not _within(site, address)]:
                yield Fault(f"{', '.join(foreign)}", "addresses of the site", "have a machine there hold it")


class OwnRoles(Rule[tuple[Centre, str]]):
    """Each of these roles has a machine at every centre."""

    control = "C-DR-09"
    name = "own-roles"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Own.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Centre, str]]]:
        if isinstance(resource, Site) and (own := _own(resource)):
            for role in self.limits.roles:
                yield role, (own, role)

    def judge(self, resource: Resource, subject: tuple[Centre, str]) -> Iterator[Fault]:
        centre, role = subject
        if role not in known(centre.roles, "roles"):
            yield Fault("no machine of it at the site", "one", GROUPS)


def _own(site: Site) -> Centre | None:
    """What the estate says of it as a centre; None: it is none."""
    name = known(site.site, "site")
    found = known(site.centres, "centres").get(name)
    return None if found is None else known(found, f"centres.{name}")


def _others(resource: Resource) -> Iterator[tuple[str, Centre, Centre]]:
    """Of a centre each other one, by its name, and itself."""
    if isinstance(resource, Site) and (own := _own(resource)):
        for name, one in known(resource.centres, "centres").items():
            if name != resource.site:
                yield name, known(one, f"centres.{name}"), own


def _within(site: Site, address: str) -> bool:
    """Whether a site has an address."""
    name = known(site.site, "site")
    prefixes = known(known(site.sites, "sites")[name], f"sites.{name}")
    there = (known(prefixes.ipv4, "ipv4"), known(prefixes.ipv6, "ipv6"))
    return any(one is not None and ip_address(address) in one for one in there)


def _kept(kind: str, firewall: str, level: int | None) -> str:
    return f"{kind}, {firewall}, level {level}"
