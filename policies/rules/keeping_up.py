"""C-DR-04, C-DR-05 and C-DR-09, of machines that run: copies are young, writes confirmed, no site is waited for."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.known import Resource, known
from policies.live.facts import Host, Replication
from policies.rules.base import Rule
from policies.rules.objectives import Limits
from policies.verdicts import Fault

DATABASES, OBJECTS = "databases", "objects"
SEE = {DATABASES: "`patronictl list` there, `qhs lease status`", OBJECTS: "`qhs objects status`"}


class Young(Rule[tuple[Host, str]]):
    """What is a copy of another site's lacks less than may be lost; what a site takes writes for is none."""

    control = "C-DR-04"
    name = "young"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Host, str]]]:
        if isinstance(resource, Host):
            for kind in resource.may_lack_s:
                yield kind, (resource, kind)

    def judge(self, resource: Resource, subject: tuple[Host, str]) -> Iterator[Fault]:
        host, kind = subject
        may = host.may_lack_s[kind]
        copy, lag = _databases(host) if kind == DATABASES else _objects(host)
        if copy and lag is None:
            yield Fault("a copy that follows nobody", "one that does", SEE[kind])
        elif copy and lag is not None and lag >= may:
            yield Fault(f"a copy that is {lag:.1f} s behind", f"less than {may:.0f} s", SEE[kind])


class Confirmed(Rule[Replication]):
    """What a database takes is confirmed by others, on a path that is short enough to wait for."""

    control = "C-DR-05"
    name = "confirmed"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Replication]]:
        if isinstance(resource, Host) and DATABASES in resource.may_lack_s:
            found = known(resource.replication, "replication")
            if found is not None and found.writes:
                yield "confirmed", found

    def judge(self, resource: Resource, subject: Replication) -> Iterator[Fault]:
        machines = 1 + len(subject.confirms)
        if machines < self.limits.machines:
            yield Fault(f"{machines} machine with what counts as written", f"{self.limits.machines}", SEE[DATABASES])
        for address, rtt in subject.confirms.items():
            if rtt is None or rtt > self.limits.rtt_ms:
                found = f"{address}, {'no known time' if rtt is None else f'{rtt:g} ms'} away"
                yield Fault(found, f"{self.limits.rtt_ms:g} ms at most", "have a machine of the site confirm")


class Independent(Rule[tuple[Host, str]]):
    """Nothing that a machine is told to reach is at one other site alone: it starts where that is lost."""

    control = "C-DR-09"
    name = "independent"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Host, str]]]:
        if isinstance(resource, Host):
            for variable in resource.needs:
                yield variable, (resource, variable)

    def judge(self, resource: Resource, subject: tuple[Host, str]) -> Iterator[Fault]:
        host, variable = subject
        sites = host.needs[variable]
        if len(sites) == 1 and host.site not in sites:
            yield Fault(f"addresses of {sites[0]} alone", f"one of {host.site}", "derive it from what the site has")


def _databases(host: Host) -> tuple[bool, float | None]:
    """Whether they are a copy, and its age; what is none and takes no writes is taken for one."""
    found = known(host.replication, "replication")
    return (True, None) if found is None else (not found.writes, found.lag_s)


def _objects(host: Host) -> tuple[bool, float | None]:
    """Likewise: what nobody follows is the store of the site that has the lease."""
    found = known(host.following, "following")
    return (True, None) if found is None else (found.holder != host.site, found.lag_s)
