"""C-LVL-01: everything carries an information-security level."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import OURS, PlanFacts
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """The levels that exist."""

    lowest: int
    highest: int


class Level(Rule[None]):
    """Each resource of our own types has a level of the law's scale; none is a denial."""

    control = "C-LVL-01"
    name = "level"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, None]]:
        if resource.type.startswith(OURS):
            yield "", None

    def judge(self, resource: Resource, subject: None) -> Iterator[Fault]:
        level = known(resource.level, "level")
        lowest, highest = self.limits.lowest, self.limits.highest
        if level is None or not lowest <= level <= highest:
            found = "no level" if level is None else f"level {level}"
            wanted = f"a level from {lowest} to {highest}"
            yield Fault(found, wanted, f"declare the level of {resource.name}; without one it is not let in")
