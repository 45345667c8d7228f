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


class Alone(Strict):
    """What the Assembly has at its own centre and buildings alone: kinds of zones, and roles of machines."""

    kinds: list[str]
    roles: list[str]


class Own(Strict):
    """What a centre must not have to ask another one for: services, and roles of machines that have none."""

    services: list[str]
    roles: list[str]


class PlacesApart(Rule[tuple[Centre, Centre]]):
    """No two centres are at one place."""

    control = "C-DR-02"
    name = "places-apart"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Centre, Centre]]]:
        for other, one, own in _others(resource):
            yield f"place of {other}", (one, own)

    def judge(self, resource: Resource, subject: tuple[Centre, Centre]) -> Iterator[Fault]:
        places = {known(one.facility, "facility") for one in subject}
        if len(places) < len(subject):
            yield Fault(f"both in {', '.join(places)}", "places that differ", "move one", ONE_PLACE)


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


class OwnServices(Rule[tuple[SiteNames, str]]):
    """Each of these services has a name below the domain of the site, which leads to an address of the site."""

    control = "C-DR-09"
    name = "own-services"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Own.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[SiteNames, str]]]:
        above = self.plan.by_urn.get(resource.parent or "")
        if isinstance(resource, SiteNames) and isinstance(above, Site) and _own(above):
            for service in self.limits.services:
                yield service, (resource, service)

    def judge(self, resource: Resource, subject: tuple[SiteNames, str]) -> Iterator[Fault]:
        names, service = subject
        wanted = f"{service}.{known(names.site, 'site')}"
        found = [one for one in self.plan.each(Record) if one.parent == names.urn and one.name == wanted]
        if not found:
            yield Fault("no name of it", "one", GROUPS)
        for one in found:
            if foreign := [address for address in known(one.addresses, "addresses") if not self._at(names, address)]:
                yield Fault(f"{', '.join(foreign)}", "addresses of the site", "have a machine there hold it")

    def _at(self, names: SiteNames, address: str) -> bool:
        site = known(names.site, "site")
        prefixes = known(self.plan.sites[site], f"sites.{site}")
        there = [known(prefixes.ipv4, "ipv4"), known(prefixes.ipv6, "ipv6")]
        return any(one is not None and ip_address(address) in one for one in there)


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


def _kept(kind: str, firewall: str, level: int | None) -> str:
    return f"{kind}, {firewall}, level {level}"
