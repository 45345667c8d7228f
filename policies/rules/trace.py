"""C-TRACE-01: everything says which demand or control it is there for."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import ENGINE, OURS, PlanFacts, Ruleset
from policies.known import Maybe, Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """How many ids are enough."""

    least: int


class Trace(Rule[Maybe[tuple[str, ...]]]):
    """Each resource and each flow cites demands (S-) or controls (C-), and only such as exist.

    A resource of somebody else's type cannot carry ids: the nearest component of ours above it does.
    """

    control = "C-TRACE-01"
    name = "trace"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Maybe[tuple[str, ...]]]]:
        if resource.type.startswith(ENGINE):
            return
        yield "", self._declared(resource)
        if isinstance(resource, Ruleset):
            for name, flow in known(resource.flows, "flows").items():
                yield f"flow {name}", known(flow, f"flows.{name}").serves

    def judge(self, resource: Resource, subject: Maybe[tuple[str, ...]]) -> Iterator[Fault]:
        cited = set(known(subject, "serves"))
        invented = cited - self.baseline.ids
        if invented:
            yield Fault(
                ", ".join(sorted(invented)),
                "ids of the baseline",
                "cite ids of policies/baseline/demands.yaml or controls.yaml",
            )
        if len(cited) < self.limits.least:
            yield Fault(
                f"{len(cited)} ids cited",
                f"at least {self.limits.least}",
                "name in `serves` what it is there for, or take it away",
            )

    def _declared(self, resource: Resource) -> Maybe[tuple[str, ...]]:
        one: Resource | None = resource
        while one is not None and not one.type.startswith(OURS):
            one = self.plan.by_urn.get(one.parent or "")
        return one.serves if one else ()
