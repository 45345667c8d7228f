"""C-NET-06 and C-DR-07: what a site hangs on is there twice."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import PlanFacts, Ruleset, Site
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.rules.flows import PAIR
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Devices(Strict):
    """How many there are at least."""

    firewalls: int
    carriers: int


class Links(Strict):
    """How many there are at least, between sites that are joined by such a network."""

    carriers: int
    joining: list[str]
    """Media."""


class Standby(Rule[Site | Ruleset]):
    """A site has firewalls and carriers enough that each can be lost. That a pair takes over is shown by packets."""

    control = "C-NET-06"
    name = "standby"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Devices.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Site | Ruleset]]:
        if isinstance(resource, Site):
            yield "carriers", resource
        elif isinstance(resource, Ruleset) and known(resource.kind, "kind") == PAIR:
            yield "members", resource

    def judge(self, resource: Resource, subject: Site | Ruleset) -> Iterator[Fault]:
        if isinstance(subject, Site):
            yield from _few("carriers", set(known(subject.carriers, "carriers")), self.limits.carriers)
        else:
            yield from _few("firewalls", set(known(subject.members, "members")), self.limits.firewalls)


class TwoLinks(Rule[Site]):
    """The links between the sites are of carriers that differ."""

    control = "C-DR-07"
    name = "two-links"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Links.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Site]]:
        if isinstance(resource, Site):
            yield "links", resource

    def judge(self, resource: Resource, subject: Site) -> Iterator[Fault]:
        if not set(self.limits.joining) & {known(one, "medium") for one in self.plan.media.values()}:
            yield Fault("no network between sites", f"one of {', '.join(self.limits.joining)}", "declare it")
        yield from _few("carriers of links", set(known(subject.carriers, "carriers")), self.limits.carriers)


def _few(what: str, found: set[str], wanted: int) -> Iterator[Fault]:
    if len(found) < wanted:
        yield Fault(f"{what}: {', '.join(sorted(found)) or 'none'}", f"{wanted} that differ", "declare another one")
