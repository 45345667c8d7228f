"""C-DR-04 and C-DR-05: what applications are promised when a centre is lost, and what must be there to keep it."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import Objectives, PlanFacts, Replica, Site, TenantData
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict

TIERS = "stacks/catalogue/tiers.yaml declares it"


class Limits(Strict):
    """How many machines have what was written before it counts as written, at least, and how far away they may be."""

    machines: int
    rtt_ms: float
    """The round trip, at most; milliseconds."""


class Promised(Rule[Objectives]):
    """Every application has a time to recover in, what it may lose, and how long it may be out."""

    control = "C-DR-04"
    name = "promised"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Objectives]]:
        if isinstance(resource, Site):
            for name, one in known(resource.tenants, "tenants").items():
                yield name, known(one, f"tenants.{name}")

    def judge(self, resource: Resource, subject: Objectives) -> Iterator[Fault]:
        rto, rpo, mtd = (known(getattr(subject, name), name) for name in ("rto", "rpo", "mtd"))
        if rto is None or rpo is None or mtd is None:
            yield Fault(f"RTO {rto}, RPO {rpo}, MTD {mtd}", "all three", TIERS)
        elif rto > mtd:
            yield Fault(f"an RTO of {rto} min", f"{mtd} min at most, its MTD", TIERS)


class Synchronous(Rule[tuple[Replica, str]]):
    """What may lose nothing is confirmed by a second machine of its site, at each site that may ever take writes.

    Across sites nothing waits for a confirmation, so that no path between them has a bound to keep.
    """

    control = "C-DR-05"
    name = "synchronous"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Replica, str]]]:
        if isinstance(resource, Replica):
            for site in known(resource.databases, "databases"):
                yield site, (resource, site)

    def judge(self, resource: Resource, subject: tuple[Replica, str]) -> Iterator[Fault]:
        replica, site = subject
        strict = sorted(known(one.tenant, "tenant") for one in self.plan.each(TenantData) if not known(one.rpo, "rpo"))
        machines = set(known(known(replica.databases, "databases")[site], site))
        if strict and len(machines) < self.limits.machines:
            found = f"{', '.join(sorted(machines)) or 'none'} alone, and {len(strict)} that may lose nothing"
            yield Fault(
                found, f"{self.limits.machines} machines", "add one, or a looser tier than that of " + strict[0]
            )
