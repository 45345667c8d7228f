"""C-NET-03: no way from the Internet to what must never be reached from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from policies.baseline import Baseline
from policies.facts import Flow, PlanFacts, Ruleset
from policies.known import Resource, Undecided, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """Where chains start and where they must not end."""

    open_media: list[str]
    protected: list[str]
    """Kinds of zones."""


@dataclass(frozen=True)
class Hop:
    """One flow between two places."""

    flow: str
    source: str
    destination: str
    breaks: bool


class NoWayIn(Rule[tuple[str, Flow]]):
    """No flow and no chain of flows leads from an open network to a protected zone.

    A chain ends at a service that terminates, authenticates and inspects (`breaks`); that service itself
    must still not stand in a protected zone. Each chain is reported once, at the flow that completes it.
    """

    control = "C-NET-03"
    name = "no-way-in"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[str, Flow]]]:
        if isinstance(resource, Ruleset):
            for name, flow in known(resource.flows, "flows").items():
                yield f"flow {name}", (name, known(flow, f"flows.{name}"))

    def judge(self, resource: Resource, subject: tuple[str, Flow]) -> Iterator[Fault]:
        hops = list(_hops(*subject))
        for place in sorted({place for hop in hops for place in (hop.source, hop.destination)}):
            if not self._exists(place):
                yield Fault(f"place {place}", "a segment `<site>.<zone>` or an external network", "name its place")
        for hop in hops:
            way = self.ways.get(hop.source)
            if way is not None and self.first[hop] == resource.urn and self._protected(hop.destination):
                yield self._way_in((*way, hop))

    def _way_in(self, way: tuple[Hop, ...]) -> Fault:
        chain = " -> ".join([way[0].source, *(hop.destination for hop in way)])
        return Fault(
            f"a way in: {chain} (flows {', '.join(hop.flow for hop in way)})",
            f"none into zones of kind {', '.join(self.limits.protected)}",
            "end the chain at a service that breaks it, or take a flow away",
        )

    @cached_property
    def first(self) -> dict[Hop, str]:
        """Every hop that is known, with the URN of the first ruleset that has it."""
        found: dict[Hop, str] = {}
        for ruleset in self.plan.each(Ruleset):
            for name, flow in _known_flows(ruleset):
                for hop in _hops(name, flow):
                    found.setdefault(hop, ruleset.urn)
        return found

    @cached_property
    def ways(self) -> dict[str, tuple[Hop, ...]]:
        """A shortest chain of hops to each place that the open networks reach; empty: the place is open itself."""
        onward: dict[str, list[Hop]] = {}
        for hop in self.first:
            onward.setdefault(hop.source, []).append(hop)
        ways: dict[str, tuple[Hop, ...]] = {
            place: () for place in sorted(onward) if self.plan.medium(place) in self.limits.open_media
        }
        queue = deque(ways)
        while queue:
            place = queue.popleft()
            for hop in onward.get(place, ()):
                if not hop.breaks and hop.destination not in ways:
                    ways[hop.destination] = (*ways[place], hop)
                    queue.append(hop.destination)
        return ways

    def _exists(self, place: str) -> bool:
        site, _, zone = place.partition(".")
        return site in self.plan.media or (bool(zone) and site in self.plan.sites)

    def _protected(self, place: str) -> bool:
        kind = self.plan.kind(place)
        return kind is not None and kind in self.limits.protected


def _known_flows(ruleset: Ruleset) -> Iterator[tuple[str, Flow]]:
    """Flows whose ends are not known are UNDECIDED by themselves; chains are made of the others."""
    try:
        for name, maybe in known(ruleset.flows, "flows").items():
            try:
                flow = known(maybe, name)
                list(_hops(name, flow))
                yield name, flow
            except Undecided:
                continue
    except Undecided:
        return


def _hops(name: str, flow: Flow) -> Iterator[Hop]:
    breaks = known(flow.breaks, "breaks")
    for source in known(flow.sources, "sources"):
        for destination in known(flow.destinations, "destinations"):
            yield Hop(name, source, destination, breaks)
