"""C-DR-01 and C-DR-03: what recovers within minutes stands at the National Data Centre, and at two places."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.cluster import CloudSite, CloudTenant, Namespace
from policies.facts import PlanFacts, Replica
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict

SITES = "name another one in its `sites` (stacks/catalogue/tenants.yaml)"
STORES = "have machines for them there (inventories/*/estate.yaml)"


class Limits(Strict):
    """The site that everything is copied to, and the least important tier that runs there."""

    sites: list[str]
    tier: int


class Least(Strict):
    """The least important tier that stands by at another place."""

    tier: int


class Copied(Rule[tuple[Replica, str]]):
    """The databases and the objects of all applications are at that site, too."""

    control = "C-DR-01"
    name = "copied"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Replica, str]]]:
        yield from _kinds(resource)

    def judge(self, resource: Resource, subject: tuple[Replica, str]) -> Iterator[Fault]:
        there = _everywhere(*subject)
        if not there & set(self.limits.sites):
            yield Fault(f"some at {', '.join(sorted(there))}", f"some at {', '.join(self.limits.sites)}", STORES)


class Placed(Rule[tuple[CloudSite, str]]):
    """Every application of these tiers has its place in the cluster of each centre, that site's among them."""

    control = "C-DR-01"
    name = "placed"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[CloudSite, str]]]:
        if isinstance(resource, CloudSite):
            for name, tier in known(resource.tenants, "tenants").items():
                if known(tier, f"tenants.{name}") <= self.limits.tier:
                    yield name, (resource, name)

    def judge(self, resource: Resource, subject: tuple[CloudSite, str]) -> Iterator[Fault]:
        cloud, name = subject
        beneath = [one for one in self.plan.each(Namespace) if self._of(one, name) == known(cloud.site, "site")]
        if not beneath:
            yield Fault("no namespace of it", "one", f"have {known(cloud.site, 'site')} in its `sites`")

    def _of(self, namespace: Namespace, name: str) -> str | None:
        """The site at which it is the place of an application of that name; None: it is none."""
        tenant = self.plan.by_urn.get(namespace.parent or "")
        if not isinstance(tenant, CloudTenant) or known(tenant.tenant, "tenant") != name:
            return None
        same = known(known(namespace.metadata, "metadata").name, "name") == name
        return known(tenant.site, "site") if same else None


class Elsewhere(Rule[CloudTenant]):
    """An application of these tiers runs at another site than this, too."""

    control = "C-DR-03"
    name = "elsewhere"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Least.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, CloudTenant]]:
        if isinstance(resource, CloudTenant) and known(resource.tier, "tier") <= self.limits.tier:
            yield "standby", resource

    def judge(self, resource: Resource, subject: CloudTenant) -> Iterator[Fault]:
        site = known(subject.site, "site")
        if not set(known(subject.sites, "sites")) - {site}:
            yield Fault(f"a place at {site} alone", "one at another site", SITES)


class CopiedElsewhere(Rule[tuple[Replica, str]]):
    """What applications have written is at another site than the one that takes writes."""

    control = "C-DR-03"
    name = "copied-elsewhere"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Replica, str]]]:
        yield from _kinds(resource)

    def judge(self, resource: Resource, subject: tuple[Replica, str]) -> Iterator[Fault]:
        site = known(subject[0].site, "site")
        if not _everywhere(*subject) - {site}:
            yield Fault(f"all of them at {site}", "a copy at another site", STORES)


def _kinds(resource: Resource) -> Iterator[tuple[str, tuple[Replica, str]]]:
    if isinstance(resource, Replica):
        for kind in ("databases", "objects"):
            yield kind, (resource, kind)


def _everywhere(replica: Replica, kind: str) -> set[str]:
    """The sites that have what is of a kind; what is named nowhere has no copy."""
    copies = known(replica.copies, "copies").get(kind, ())
    return {known(replica.site, "site"), *known(copies, kind)}
