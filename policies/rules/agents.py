"""C-NET-05, C-NET-07, C-NET-10 and C-NET-11: what guards and watches machines is at work."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.known import Resource, known
from policies.live.facts import Host
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """Units that are active."""

    units: list[str]


class Agents(Rule[Host]):
    """What all of these rules have in common."""

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def concerns(self, host: Host) -> bool:
        """Whether a machine has such agents: each has, but where a rule says who."""
        return True

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Host]]:
        if isinstance(resource, Host) and self.concerns(resource):
            yield self.name, resource

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        units = known(subject.units, "units")
        if off := [name for name in self.limits.units if not (name in units and units[name].active)]:
            yield Fault(f"{', '.join(off)} not active", "them active", "run the role that owns them")


class Scanned(Agents):
    """Where files of others come in, they are scanned as they come. What a scanner finds is shown with a test file."""

    control = "C-NET-10"
    name = "scanned"

    def concerns(self, host: Host) -> bool:
        return host.takes_files


class Watched(Agents):
    """Every machine sends its logs and answers for its metrics; that both arrive is C-LOG-02 and an alert."""

    control = "C-NET-11"
    name = "watched"


class Inspected(Agents):
    """A firewall looks at what it forwards; that it finds an exploit is shown with one."""

    control = "C-NET-05"
    name = "inspected"

    def concerns(self, host: Host) -> bool:
        return host.firewall


class Filtered(Agents):
    """Before what the public may reach there is a filter; that it stops an attack is shown with one."""

    control = "C-NET-07"
    name = "filtered"

    def concerns(self, host: Host) -> bool:
        return host.public
