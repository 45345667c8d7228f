"""C-LOG-01: what a machine has said is kept elsewhere, for as long as its level asks."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.known import Resource, known
from policies.live.facts import Host
from policies.live.stores import stores
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """For how long, by level."""

    months: dict[int, int]


class CentralLogs(Rule[Host]):
    """A log store has lines of every machine, and each store that has some keeps them for long enough."""

    control = "C-LOG-01"
    name = "central-logs"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Host]]:
        if isinstance(resource, Host):
            yield "kept", resource

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        level = known(subject.level, "level") or 0
        least = max((months for asked, months in self.limits.months.items() if asked <= level), default=0)
        kept = [(store.host.name, one.months) for store in stores(self.plan) for one in store.heard(subject)]
        if not kept:
            yield Fault("no line at any log store", "one at least", "see `systemctl status rsyslog` there")
        if short := {f"{months} months at {name}" for name, months in kept if months < least}:
            wanted = f"{least} or more at level {level}"
            yield Fault(", ".join(sorted(short)), wanted, "retention.yaml, then the log_store role")
