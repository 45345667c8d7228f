"""C-DR-06 and C-BAK-04: the estate was moved to the other site and back, and restored, of late, all on record."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.known import Resource
from policies.live.records import Drills
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """For how many days a drill counts, and the plans that each show what is wanted."""

    days: int
    plans: dict[str, list[str]]


class Drilled(Rule[tuple[Drills, list[str]]]):
    """A report counts that its signer vouches for, of a drill that passed: no other, and never none."""

    control = "C-DR-06"
    name = "drilled"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Drills, list[str]]]]:
        if isinstance(resource, Drills):
            for what, plans in self.limits.plans.items():
                yield what, (resource, plans)

    def judge(self, resource: Resource, subject: tuple[Drills, list[str]]) -> Iterator[Fault]:
        drills, plans = subject
        ended = [one.ended for one in drills.held if one.plan in plans and not one.faults]
        wanted, fix = (
            f"one within {self.limits.days} days that counts",
            " or ".join(f"`qhs drill {one}`" for one in plans),
        )
        if not ended:
            yield Fault("none that counts", wanted, fix)
        elif (age := drills.at - max(ended)) > timedelta(days=self.limits.days):
            yield Fault(f"the last one {age.days} days ago", wanted, fix)


class Rehearsed(Drilled):
    """Likewise of a restore, whose report has what it took against what is promised."""

    control = "C-BAK-04"
    name = "rehearsed"
