"""C-DR-08: the nodes of a centre hold what the applications that must run there may use, all at once."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies.baseline import Baseline
from policies.cluster import CloudSite, CloudTenant, ResourceQuota, Room
from policies.facts import PlanFacts
from policies.known import Resource, Undecided, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict
from stacks.model.room import SMALL_NODES

MEASURES = {"cpu": ("requests.cpu", 1), "memory_gib": ("limits.memory", 2**30), "gpu": ("requests.nvidia.com/gpu", 1)}
"""What nodes have, how quotas call it, and how much of that is one."""
NONE = Room(cpu=0, memory_gib=0, gpu=0)
UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
"""Of quantities."""


class Least(Strict):
    """The least important tier whose applications there must be room for."""

    tier: int


class Holds(Rule[tuple[CloudSite, str, str]]):
    """By zone and measure, the sum of the quotas of these tiers is no more than its nodes have."""

    control = "C-DR-08"
    name = "holds"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Least.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[CloudSite, str, str]]]:
        if isinstance(resource, CloudSite):
            for zone in sorted({known(one.zone, "zone") for one in self._tenants(resource)}):
                for measure in MEASURES:
                    yield f"{measure} of {zone}", (resource, zone, measure)

    def judge(self, resource: Resource, subject: tuple[CloudSite, str, str]) -> Iterator[Fault]:
        cloud, zone, measure = subject
        asked = 0.0
        for one in self._tenants(cloud):
            if known(one.zone, "zone") == zone:
                quotas = [quota for quota in self.plan.each(ResourceQuota) if quota.parent == one.urn]
                asked += sum(_quantity(quota, measure) for quota in quotas)
        nodes = known(known(cloud.nodes, "nodes").get(zone, NONE), f"nodes.{zone}")
        has = known(getattr(nodes, measure), measure)
        if asked > has:
            yield Fault(f"quotas of {asked:g}", f"{has:g} at most, which its nodes have", "add nodes", SMALL_NODES)

    def _tenants(self, cloud: CloudSite) -> Iterator[CloudTenant]:
        """Those at the site that must run there."""
        for one in self.plan.each(CloudTenant):
            if one.parent == cloud.urn and known(one.tier, "tier") <= self.limits.tier:
                yield one


def _quantity(quota: ResourceQuota, measure: str) -> float:
    """As the API writes it; what a quota does not name, its applications get none of (C-K8S-05 has those two named)."""
    hard = known(known(quota.spec, "spec").hard, "hard")
    name, one = MEASURES[measure]
    said = str(known(hard.get(name, "0"), name))
    found = re.fullmatch(r"([\d.]+)(\D*)", said)
    if found is None or found[2] not in UNITS:
        raise Undecided(f"{name}, as {said} is no quantity that is known here")
    return float(found[1]) * UNITS[found[2]] / one
