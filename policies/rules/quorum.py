"""C-K8S-07: a cluster outlives any one of its control planes, and any one rack."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.cluster import CloudSite
from policies.facts import PlanFacts
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """How many control planes a cluster has, at least."""

    at_least: int


class Quorum(Rule[CloudSite]):
    """An odd number of control planes, of which no rack has so many that the others are too few without it."""

    control = "C-K8S-07"
    name = "quorum"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, CloudSite]]:
        if isinstance(resource, CloudSite):
            yield "control planes", resource

    def judge(self, resource: Resource, subject: CloudSite) -> Iterator[Fault]:
        racks = [known(rack, "rack") for rack in known(subject.controls, "controls").values()]
        number = len(racks)
        if number < self.limits.at_least or number % 2 == 0:
            wanted = f"an odd number, {self.limits.at_least} at least"
            yield Fault(f"{number} control planes", wanted, "the inventory", limit="one-control-plane")
            return
        fullest = max(racks, key=racks.count)
        if number - racks.count(fullest) <= number // 2:
            found = f"{racks.count(fullest)} of {number} control planes in the rack {fullest}"
            yield Fault(found, "the greater part of them in other racks, whichever is out", "the inventory")
