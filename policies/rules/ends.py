"""C-NET-04, C-NET-08, C-NET-09, C-NET-14 and C-NET-15: who may be at the other end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from ipaddress import ip_network

from policies.baseline import Baseline
from policies.facts import Flow, PacketRule, PlanFacts, Ruleset, Segment, Site
from policies.known import UNKNOWN, Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Management(Strict):
    """Ports that machines are managed by, the kinds of zones that have them, and what firewalls are to their ports."""

    ports: list[str]
    kinds: list[str]
    legs: list[str]
    most: int
    """Addresses of a family that may ask for it there."""


class Databases(Strict):
    """Kinds of zones that have them, kinds of those who speak to them, and what firewalls are to them."""

    kinds: list[str]
    callers: list[str]
    firewall: list[str]


class Wireless(Strict):
    """Kinds of zones, and of those that nobody there speaks to."""

    kinds: list[str]
    protected: list[str]


class StateNetwork(Strict):
    """By which bodies of the State are reached."""

    media: list[str]


class Leaving(Strict):
    """Networks that nobody answers for, and the kinds of zones that speak to them."""

    open_media: list[str]
    kinds: list[str]


type Managed = tuple[Ruleset, PacketRule, Flow | None]
"""A rule of a ruleset that lets somebody manage machines, and the flow that it is of; none: a guard."""


class ByBastion(Rule[Managed]):
    """Machines are managed by ports in zones of their own, from few addresses; others ask bastions alone.

    Which second factor opens a bastion and what it records is judged on the machine.
    """

    control = "C-NET-04"
    name = "by-bastion"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Management.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Managed]]:
        if isinstance(resource, Ruleset):
            for label, rule, flow in packet_rules(resource):
                if rule.chain != "output" and (rule.ports is UNKNOWN or any(map(self._manages, rule.ports))):
                    yield label, (resource, rule, flow)

    def judge(self, resource: Resource, subject: Managed) -> Iterator[Fault]:
        ruleset, rule, flow = subject
        known(rule.ports, "ports")
        zone = known(rule.iif, "iif")
        places = known(flow.destinations, "destinations") if flow else [f"{known(ruleset.site, 'site')}.{zone}"]
        if odd := [place for place in places if self.plan.kind(place) not in self.limits.kinds]:
            wanted = f"zones of kind {', '.join(self.limits.kinds)}"
            yield Fault(f"it managed in {', '.join(odd)}", wanted, "manage it by its management port")
        elif zone in self.legs:
            sources = known(rule.sources, "sources")
            if not 0 < sum(ip_network(one).num_addresses for one in sources) <= self.limits.most:
                wanted = f"the bastions, {self.limits.most} addresses at most"
                yield Fault(f"it managed from {', '.join(sources) or 'everybody'}", wanted, "name the bastions")

    def _manages(self, ports: str) -> bool:
        """Whether a port, or a range of them, holds one that machines are managed by."""
        first, _, last = ports.partition("-")
        return any(int(first) <= int(one) <= int(last or first) for one in self.limits.ports)

    @cached_property
    def legs(self) -> set[str]:
        """Zones that the firewalls only have a port in, so that nobody else's packets come there."""
        found = self.plan.each(Segment)
        return {known(one.zone, one.name) for one in found if known(one.firewall, one.name) in self.limits.legs}


class DatabasesApart(Rule[Segment | Flow]):
    """Databases stand behind the firewalls in zones of their own, and only servers and operators speak to them."""

    control = "C-NET-08"
    name = "databases-apart"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Databases.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Segment | Flow]]:
        if isinstance(resource, Segment) and known(resource.kind, "kind") in self.limits.kinds:
            yield "firewall", resource
        yield from _flows(resource)

    def judge(self, resource: Resource, subject: Segment | Flow) -> Iterator[Fault]:
        if isinstance(subject, Segment):
            found = known(subject.firewall, "firewall")
            if found not in self.limits.firewall:
                wanted = f"firewall {', '.join(self.limits.firewall)}"
                yield Fault(f"firewall {found}", wanted, "route the zone through its site's firewalls")
            return
        for source, destination in _ends(subject):
            if self.plan.kind(destination) in self.limits.kinds and self.plan.kind(source) not in self.limits.callers:
                wanted = f"callers of kind {', '.join(self.limits.callers)}"
                yield Fault(f"{source} -> {destination}", wanted, "go through a server of the application")


class WirelessApart(Rule[Flow]):
    """No wireless zone speaks to data or management. How its devices log in is for where they do."""

    control = "C-NET-09"
    name = "wireless-apart"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Wireless.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Flow]]:
        yield from _flows(resource)

    def judge(self, resource: Resource, subject: Flow) -> Iterator[Fault]:
        for source, destination in _ends(subject):
            into = self.plan.kind(destination)
            if self.plan.kind(source) in self.limits.kinds and into in self.limits.protected:
                wanted = f"none into zones of kind {', '.join(self.limits.protected)}"
                yield Fault(f"{source} -> {destination}", wanted, "take the flow away")


class StateBodies(Rule[tuple[str, bool]]):
    """Bodies of the State and the Party are reached over the specialised data network."""

    control = "C-NET-14"
    name = "state-network"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = StateNetwork.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[str, bool]]]:
        if isinstance(resource, Site):
            for place, state_body in known(resource.partners, "partners").items():
                yield f"partner {place}", (place, known(state_body, f"partners.{place}"))

    def judge(self, resource: Resource, subject: tuple[str, bool]) -> Iterator[Fault]:
        place, state_body = subject
        medium = self.plan.medium(place)
        if state_body and medium not in self.limits.media:
            wanted = f"one of {', '.join(self.limits.media)}"
            yield Fault(f"it reached by {medium or 'no network'}", wanted, "give the partner another `via`")


class ByProxy(Rule[Flow]):
    """Only zones that face outwards speak to open networks; all others ask a proxy there."""

    control = "C-NET-15"
    name = "by-proxy"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Leaving.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Flow]]:
        yield from _flows(resource)

    def judge(self, resource: Resource, subject: Flow) -> Iterator[Fault]:
        for source, destination in _ends(subject):
            leaves = self.plan.medium(destination) in self.limits.open_media
            if leaves and self.plan.kind(source) not in self.limits.kinds:
                wanted = f"sources of kind {', '.join(self.limits.kinds)}"
                yield Fault(f"{source} -> {destination}", wanted, "let it go through the proxy")


def _flows(resource: Resource) -> Iterator[tuple[str, Flow]]:
    if isinstance(resource, Ruleset):
        for name, flow in known(resource.flows, "flows").items():
            yield f"flow {name}", known(flow, f"flows.{name}")


def packet_rules(ruleset: Ruleset) -> Iterator[tuple[str, PacketRule, Flow | None]]:
    """Each rule of its guards and flows, with how verdicts call it and its flow. May raise Undecided."""
    for position, guard in enumerate(known(ruleset.guards, "guards"), 1):
        yield f"guard {position}", known(known(guard, f"guards.{position}").rule, "rule"), None
    for label, flow in _flows(ruleset):
        for position, rule in enumerate(known(flow.rules, f"{label} rules"), 1):
            yield f"{label}, rule {position}", known(rule, f"{label}, rule {position}"), flow


def _ends(flow: Flow) -> Iterator[tuple[str, str]]:
    for source in known(flow.sources, "sources"):
        for destination in known(flow.destinations, "destinations"):
            yield source, destination
