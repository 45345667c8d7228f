"""C-NET-01: what is of another kind stands in another zone."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import PlanFacts, Ruleset, Segment, Site
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.rules.ends import packet_rules
from policies.rules.flows import PAIR
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """Kinds of zones."""

    apart: dict[str, list[str]]
    """A site that has zones of the kind has others, of their own, of these kinds."""
    beside: list[str]
    """A machine has a port in one zone, and besides in zones of these kinds."""


class Apart(Rule[Site | Ruleset]):
    """A site has zones of their own for what must be apart, and no machine but a firewall joins two of them.

    That their prefixes are disjoint is C-NET-16.
    """

    control = "C-NET-01"
    name = "apart"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Site | Ruleset]]:
        if isinstance(resource, Site):
            yield "zones", resource
        elif isinstance(resource, Ruleset) and known(resource.kind, "kind") != PAIR:
            yield "ports", resource

    def judge(self, resource: Resource, subject: Site | Ruleset) -> Iterator[Fault]:
        if isinstance(subject, Site):
            yield from self._kinds(subject)
        else:
            yield from self._ports(subject)

    def _kinds(self, site: Site) -> Iterator[Fault]:
        name = known(site.site, "site")
        segments = self.plan.each(Segment)
        there = {known(one.kind, f"kind of {one.name}") for one in segments if known(one.site, one.name) == name}
        for kind in sorted(there & self.limits.apart.keys()):
            for other in self.limits.apart[kind]:
                if other not in there:
                    yield Fault(f"zones of kind {kind} and none of kind {other}", "zones of both", "add its zone")

    def _ports(self, machine: Ruleset) -> Iterator[Fault]:
        rules = [rule for _, rule, _ in packet_rules(machine)]
        named = {port for rule in rules for port in (known(rule.iif, "iif"), known(rule.oif, "oif"))}
        joined = sorted(zone for zone in named if self._counts(zone))
        if len(joined) > 1:
            yield Fault(f"ports in {', '.join(joined)}", "a port in one zone", "make it a machine for each zone")

    def _counts(self, port: str) -> bool:
        return port in self.plan.kinds and known(self.plan.kinds[port], f"kind of {port}") not in self.limits.beside
