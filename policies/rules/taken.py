"""C-BAK-01 and C-BAK-05, of machines that run: what takes writes has young copies, and not only where it is."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.known import Resource, known
from policies.live.facts import Host
from policies.rules.backups import Limits
from policies.rules.base import Rule
from policies.rules.keeping_up import DATABASES
from policies.verdicts import Fault
from stacks.model.catalogue import Strict

SEE = "`systemctl status qhs-database-backup.service` there, and the object stores"


class Taken(Rule[Host]):
    """Of a database that takes writes each store that counts has a copy that is young enough."""

    control = "C-BAK-01"
    name = "taken"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Host]]:
        if isinstance(resource, Host) and _writes(resource):
            yield "copies", resource

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        young = _young(subject, self.limits.hours)
        if (copies := 1 + len(young)) < self.limits.copies:
            found = f"{copies} of the last {self.limits.hours} hours with the data itself"
            yield Fault(found, f"{self.limits.copies} or more", SEE)


class Elsewhere(Strict):
    """How old a copy at another site may be."""

    hours: int


class TakenElsewhere(Rule[Host]):
    """One of these is at another site."""

    control = "C-BAK-05"
    name = "taken-elsewhere"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Elsewhere.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Host]]:
        if isinstance(resource, Host) and _writes(resource):
            yield "elsewhere", resource

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        if not _young(subject, self.limits.hours) - {subject.site}:
            yield Fault(f"none of the last {self.limits.hours} hours at another site", "one", SEE)


def _writes(host: Host) -> bool:
    """Whether it takes writes. Raises Undecided."""
    found = known(host.replication, "replication") if DATABASES in host.may_lack_s else None
    return found is not None and found.writes


def _young(host: Host, hours: int) -> set[str]:
    """The sites with a copy that is no older. Raises Undecided."""
    return {site for site, age in known(host.backups, "backups").items() if age <= hours}
