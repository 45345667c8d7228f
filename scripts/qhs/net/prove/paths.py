"""Which way packets take: where they are meant to pass, and everywhere that they can get to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from qhs.net.prove.facts import Area, Facts, Leg, Node
from qhs.net.prove.filters import Filter, View
from qhs.net.prove.space import Box, anything, both, without


class Step(NamedTuple):
    """Through one machine, from one wire to another."""

    node: Node
    iif: Leg
    oif: Leg

    def view(self, family: int) -> View:
        """Its decision, as its filter is asked for it."""
        return View("forward", self.iif.name, self.oif.name, family)


class Hop(NamedTuple):
    """What decided about a packet at one machine."""

    node: str
    iif: str
    oif: str
    by: str


class Way(NamedTuple):
    """Packets that get somewhere, and by which hops."""

    box: Box
    hops: tuple[Hop, ...]


@dataclass
class Paths:
    """Ways through the estate. `filters` has one entry a machine; members of a pair may share one."""

    facts: Facts
    filters: dict[str, Filter]

    def __post_init__(self) -> None:
        self._reached: dict[tuple[str, int], dict[str, list[Way]]] = {}
        self._forwarders = {network: tuple(self._distinct(nodes)) for network, nodes in self.facts.forwarders.items()}

    def routed(self, source: Area, destination: Area) -> list[tuple[Step, ...]] | None:
        """The ways that routing takes: straight through the firewalls that both lie at, else over the inter-site link.

        An empty way: both are on one wire. No way at all: an empty list. None: it passes no machine of ours.
        """
        if source.network == destination.network:
            return None if source.outside or source.network == self.facts.link else [()]
        if self._elsewhere(source, destination) or self._elsewhere(destination, source):
            return None
        from_there = self._firewalls(source.network)
        straight: list[tuple[Step, ...]] = [(_step(node, source.network, destination.network),) for node in from_there
                    if destination.network in node.by_network]  # fmt: skip
        if straight:
            return straight
        link = self.facts.link
        return [
            (_step(first, source.network, link), _step(last, link, destination.network))
            for first, last in product(from_there, self._firewalls(destination.network))
            if link in first.by_network and link in last.by_network
        ]

    def reached(self, network: str, family: int) -> dict[str, list[Way]]:
        """Every wire that new packets from a wire get to, by any chain of forwarding machines, with any source."""
        known = self._reached.get((network, family))
        if known is None:
            known = {}
            self._spread(network, family, [Way(anything(family), ())], frozenset(), known)
            self._reached[network, family] = known
        return known

    def delivered(self, way: Way, network: str, family: int) -> Iterator[Way]:
        """What of it the machines on the last wire take in; addresses that no machine holds take everything."""
        left = [way.box]
        for node in self.facts.nodes.values():
            leg = node.by_network.get(network)
            if leg is None:
                continue
            own = Box(anything(family).src, leg.own[family], anything(family).svc)
            for box in left:
                mine = both(box, own)
                for hit in self.filters[node.name].allowed(View("input", leg.name, "", family)) if mine else ():
                    if mine and (taken := both(mine, hit.box)):
                        yield Way(taken, (*way.hops, Hop(node.name, leg.name, "", hit.by)))
            left = [piece for box in left for piece in without(box, own)]
        yield from (Way(box, way.hops) for box in left)

    def _spread(
        self, network: str, family: int, ways: list[Way], used: frozenset[str], found: dict[str, list[Way]]
    ) -> None:
        for node in self._forwarders.get(network, ()):
            if node.unit in used:
                continue
            for leg in node.legs:
                step = _step(node, network, leg.network)
                passed = list(self._through(step, family, ways))
                if passed:
                    found.setdefault(leg.network, []).extend(passed)
                    self._spread(leg.network, family, passed, used | {node.unit}, found)

    def _through(self, step: Step, family: int, ways: list[Way]) -> Iterator[Way]:
        """What a machine sends on: what its filter passes, of the destinations that it routes there."""
        everything = anything(family)
        routed = Box(everything.src, self.facts.routes[step.oif.network][family], everything.svc)
        ways = [Way(box, way.hops) for way in ways if (box := both(way.box, routed)) is not None]
        for hit in self.filters[step.node.name].allowed(step.view(family)) if ways else ():
            hop = Hop(step.node.name, step.iif.name, step.oif.name, hit.by)
            for way in ways:
                box = both(hit.box, way.box)
                if box is not None:
                    yield Way(box, (*way.hops, hop))

    def _firewalls(self, network: str) -> list[Node]:
        return [node for node in self._forwarders.get(network, ()) if node.firewall]

    def _distinct(self, nodes: tuple[Node, ...]) -> Iterator[Node]:
        """Members of a pair that hold the very same rules decide alike: one of them is enough."""
        seen = set()
        for node in nodes:
            key = (node.unit, id(self.filters[node.name]))
            if key not in seen:
                seen.add(key)
                yield node

    def _elsewhere(self, one: Area, other: Area) -> bool:
        """A site that is not built yet has its own way out: nothing of ours is between it and the outside."""
        return one.outside and other.site in self.facts.unbuilt


def _step(node: Node, source: str, destination: str) -> Step:
    return Step(node, node.by_network[source], node.by_network[destination])
