"""Decides every cell: what should pass does, and nothing else does.

Kinds of cells: `flow` (place to service), `rest` (whatever else gets from place to place), `edge` (one machine's
forwarding from port to port), `host` (what a machine lets in or out), `local` (what it must let in or out to stay
manageable), `state` (replies pass, invalid packets do not), `expiry` (from its second on nothing of a flow passes, its
established sessions included, and all else that is established does) and `chain` (C-NET-03, see `hops.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Literal, NamedTuple

from qhs.net.prove.facts import Area, Facts, Leg, Node, Target
from qhs.net.prove.filters import Filter, View
from qhs.net.prove.intent import Alive, Intent, Need, back, intend, local_view
from qhs.net.prove.paths import Hop, Paths, Way
from qhs.net.prove.space import FAMILIES, Box, anything, both, rest, sample

Answer = Literal["allow", "deny", "part"]
TRACKED: tuple[Literal["established", "related"], ...] = ("established", "related")


class Packet(NamedTuple):
    """A counter-example: one packet that shows what is wrong, and what decided about it on its way."""

    source: str
    destination: str
    service: str
    hops: tuple[Hop, ...]
    note: str = ""


class Cell(NamedTuple):
    """One question with its answer; `packet` where the answer is not the wanted one."""

    kind: str
    source: str
    destination: str
    service: str
    family: int
    wanted: Answer
    found: Answer
    packet: Packet | None = None


@dataclass
class Judge:
    """Answers about one estate's filters at one moment. Reads only; asks no network."""

    facts: Facts
    timeless: Mapping[str, Filter]
    """By machine, with every rule whenever it stands."""
    now: datetime
    filters: dict[str, Filter] = field(init=False)
    """What is left of them now."""
    paths: Paths = field(init=False)
    intent: Intent = field(init=False)

    def __post_init__(self) -> None:
        at = {id(one): one.at(self.now) for one in self.timeless.values()}
        self.filters = {name: at[id(one)] for name, one in self.timeless.items()}
        self.paths = Paths(self.facts, self.filters)
        self.intent = intend(self.facts, self.paths, self.now)
        self._beyond: dict[tuple[str, str, int], list[Way]] = {}
        self._hosts: dict[str, list[tuple[Node, Leg]]] = {}
        for node in self.facts.nodes.values():
            for leg in () if node.firewall else node.legs:
                self._hosts.setdefault(leg.network, []).append((node, leg))

    @property
    def ahead(self) -> list[datetime]:
        """When something expires that has not yet."""
        expiries = {one.flow.expires for one in self.facts.talks if not one.flow.expired(self.now)}
        return sorted(moment for moment in expiries if moment)

    def at(self, moment: datetime) -> Judge:
        """The same estate at another moment."""
        return Judge(self.facts, self.timeless, moment)

    def cells(self) -> Iterator[Cell]:
        """Every cell but those of kind `chain`."""
        yield from self._flows()
        for node in self._distinct():
            yield from self._edges(node, self.views(node))
            yield from self._states(node, "state", self.views(node))
        for node in self.facts.nodes.values():
            yield from self._host(node, self.views(node))
        yield from self._locals()
        for node in self._concerned():
            yield from self._cuts(node)

    def expiries(self) -> Iterator[Cell]:
        """At the second of an expiry: what it ends, and that it ends nothing else. All the rest is as it was before."""
        for node in self._concerned():
            own = self.filters[node.name]
            yield from self._states(node, "expiry", [view for view in self.views(node) if own.dated(view)])
            yield from self._cuts(node)

    def changed(self, name: str, known: Filter) -> Judge:
        """The same estate in which one machine has another filter: what is meant to pass stays what it is."""
        other = copy(self)
        other.timeless = {**self.timeless, name: known}
        other.filters = {**self.filters, name: known.at(self.now)}
        other.paths = Paths(self.facts, other.filters)
        other._beyond = {}
        return other

    def about(self, name: str, views: Set[View]) -> Iterator[Cell]:
        """The cells that these decisions of one machine can change: its own, and what is meant to pass there."""
        node = self.facts.nodes[name]
        yield from self._host(node, views)
        yield from self._edges(node, views)
        yield from self._states(node, "state", views)
        yield from self._locals(name)
        for alive in self.intent.alive:
            for family in FAMILIES:
                if self._asked(alive, node, family) & views:
                    yield self._flow(self.facts.areas[alive.talk.source], alive.talk.target, family, [])

    def _asked(self, alive: Alive, node: Node, family: int) -> Set[View]:
        """The decisions of a machine that a conversation needs."""
        through = {step.view(family) for way in alive.ways for step in way if step.node is node}
        return through | {need.view for need in self._needs(alive, family) if need.node is node}

    def _needs(self, alive: Alive, family: int) -> Iterator[Need]:
        talk = alive.talk
        for need in self.intent.needs[talk.source, talk.target.area, talk.target.service]:
            if need.view.family == family:
                yield need

    def beyond(self, source: Area, area: Area, family: int) -> list[Way]:
        """What gets from a place to another although no conversation says so; on our own wires with any source."""
        network = source.network
        shared = network == self.facts.link  # what other sites send comes in there as well
        key = source.name if shared else network, area.name, family
        if key not in self._beyond:
            src = source.addresses[family] if shared else anything(family).src
            scope = Box(src, area.addresses[family], anything(family).svc)
            wanted = self.intent.between.get((network, area.network, family), [])
            ways = [
                delivered
                for way in self.paths.reached(network, family).get(area.network, [])
                for box in _left(way.box, scope, wanted)
                for delivered in self.paths.delivered(Way(box, way.hops), area.network, family)
            ]
            if network == area.network:
                ways += self._on_one_wire(network, family)
            self._beyond[key] = ways
        return self._beyond[key]

    def _flows(self) -> Iterator[Cell]:
        by_area: dict[str, list[Target]] = {}
        for target in self.facts.targets:
            by_area.setdefault(target.area, []).append(target)
        for source in self.facts.areas.values():
            for area in self.facts.areas.values():
                if self.paths.routed(source, area) is None:
                    continue  # nothing of ours is between them
                for family in FAMILIES:
                    ways = self.beyond(source, area, family)
                    yield _answer("rest", (source.name, area.name, "anything else"), family, ways)
                    for target in by_area.get(area.name, ()):
                        yield self._flow(source, target, family, ways)

    def _flow(self, source: Area, target: Target, family: int, beyond: list[Way]) -> Cell:
        names = source.name, target.area, target.service
        box = Box(source.addresses[family], target.dst[family], target.svc[family])
        alive = self.intent.wanted.get(names)
        if alive is not None:
            packet = self._missing(alive, family)
            return Cell("flow", *names, family, "allow", "allow" if packet is None else "part", packet)
        found = [Way(piece, way.hops) for way in beyond if (piece := both(way.box, box))]
        if found:
            return _answer("flow", names, family, found)
        # Another conversation may name the same packets, for a part of the place or of the ports.
        others = self.intent.between.get((source.network, self.facts.areas[target.area].network, family), [])
        return Cell("flow", *names, family, "deny", "part" if any(both(box, other) for other in others) else "deny")

    def _missing(self, alive: Alive, family: int) -> Packet | None:
        """A packet of the conversation that does not arrive."""
        box = alive.box[family]
        if not alive.ways:
            return _packet(box, (), family, "no firewalls lead there")
        for way in alive.ways:
            for step in way:
                if packet := self._stopped(step.node, box, step.view(family)):
                    return packet
        for need in self._needs(alive, family):
            if packet := self._stopped(need.node, need.box, need.view):
                return packet
        return None

    def _stopped(self, node: Node, box: Box, view: View) -> Packet | None:
        left = rest(box, [hit.box for hit in self.filters[node.name].allowed(view)])
        if not left:
            return None
        one = Box(left[0].src[:1], left[0].dst[:1], left[0].svc[:1])
        by = self.filters[node.name].stops(view, one)
        return _packet(one, (Hop(node.name, view.iif, view.oif, by),), view.family, "stopped here")

    def _on_one_wire(self, network: str, family: int) -> list[Way]:
        """On a segment no firewall is passed: what its machines take in decides."""
        return [
            Way(box, (Hop(node.name, leg.name, "", hit.by),))
            for node, leg in self._hosts.get(network, ())
            for hit in self.filters[node.name].allowed(local_view("input", leg.name, family))
            for box in _left(
                hit.box,
                Box(anything(family).src, leg.own[family], anything(family).svc),
                self._wanted(node.name, local_view("input", leg.name, family)),
            )
        ]

    def _wanted(self, name: str, view: View) -> list[Box]:
        return self.intent.at.get((name, view), [])

    def _distinct(self) -> list[Node]:
        seen = {(node.unit, id(self.filters[node.name])): node for node in self.facts.nodes.values()}
        return list(seen.values())

    def _concerned(self) -> list[Node]:
        """Machines that let pass what has expired."""
        names = {name for name, _ in self.intent.ended}
        return [node for node in self._distinct() if names & {node.unit, node.name}]

    def _edges(self, node: Node, views: Collection[View]) -> Iterator[Cell]:
        for view in (one for one in views if one.hook == "forward"):
            names = (f"{node.unit}:{view.iif}", f"{node.unit}:{view.oif}", "anything else")
            yield self._exact("edge", names, node, self._wanted(node.unit, view), view)

    def _host(self, node: Node, views: Collection[View]) -> Iterator[Cell]:
        for view in (one for one in views if one.hook != "forward"):
            names = (f"{node.name}:{view.iif or view.oif}", view.hook, "anything else")
            yield self._exact("host", names, node, self._wanted(node.name, view), view)

    def _exact(self, kind: str, names: tuple[str, str, str], node: Node, wanted: list[Box], view: View) -> Cell:
        """Nothing passes there beyond what is wanted."""
        return self._passing(kind, names, node, view, wanted)

    def _passing(self, kind: str, names: tuple[str, str, str], node: Node, view: View, but: list[Box]) -> Cell:
        ways = [
            Way(box, (Hop(node.name, view.iif, view.oif, hit.by),))
            for hit in self.filters[node.name].allowed(view)
            for box in rest(hit.box, but)
        ]
        return _answer(kind, names, view.family, ways)

    def _locals(self, name: str | None = None) -> Iterator[Cell]:
        for one in (it for it in self.facts.locals if name in (None, it.node)):
            view = local_view(one.hook, one.leg, one.family)
            packet = self._stopped(self.facts.nodes[one.node], one.box, view)
            names = (f"{one.node}:{one.leg}", one.hook, one.name)
            yield Cell("local", *names, one.family, "allow", "allow" if packet is None else "part", packet)

    def _states(self, node: Node, kind: str, views: Collection[View]) -> Iterator[Cell]:
        """On every way in, out and through: packets of what is allowed pass, and those of nothing known do not."""
        for view in (one for one in views if node.forwards or one.hook != "forward"):
            names = f"{node.name}:{view.iif}", f"{node.name}:{view.oif}"
            known = rest(anything(view.family), self._cut(node, view))
            for state in TRACKED:
                seen = view._replace(state=state)
                packet = next((one for box in known if (one := self._stopped(node, box, seen))), None)
                answer: Answer = "allow" if packet is None else "part"
                yield Cell(kind, *names, state, view.family, "allow", answer, packet)
            if view.hook != "output":
                yield self._passing(kind, (*names, "invalid"), node, view._replace(state="invalid"), [])

    def _cuts(self, node: Node) -> Iterator[Cell]:
        """Nothing passes of what has expired: no packet that opens a connection, none of one that is open."""
        for view in self.views(node):
            names = f"{node.name}:{view.iif}", f"{node.name}:{view.oif}"
            if cut := self._cut(node, view):
                others = rest(anything(view.family), cut)
                for state in ("new", "established"):
                    cell_names = *names, f"{state}, expired"
                    yield self._passing("expiry", cell_names, node, view._replace(state=state), others)

    def _cut(self, node: Node, view: View) -> list[Box]:
        """What expired conversations alone let pass, in their own direction and as answers."""
        name = node.unit if view.hook == "forward" else node.name
        ways = (view, back(view))
        live = [box for way in ways for box in self._wanted(name, way)]
        return [left for way in ways for box in self.intent.ended.get((name, way), []) for left in rest(box, live)]

    def views(self, node: Node) -> tuple[View, ...]:
        """Every decision of a machine about new packets."""
        ports = [leg.name for leg in node.legs]
        return (
            *(local_view(hook, port, family) for port in ports for hook in ("input", "output") for family in FAMILIES),
            *(View("forward", iif, oif, family) for iif, oif in product(ports, ports) for family in FAMILIES),
        )


def _left(box: Box, scope: Box, wanted: list[Box]) -> list[Box]:
    within = both(box, scope)
    return rest(within, wanted) if within else []


def _answer(kind: str, names: tuple[str, str, str], family: int, ways: list[Way]) -> Cell:
    """A cell in which nothing should pass."""
    if not ways:
        return Cell(kind, *names, family, "deny", "deny")
    return Cell(kind, *names, family, "deny", "part", _packet(ways[0].box, ways[0].hops, family, "passes"))


def _packet(box: Box, hops: tuple[Hop, ...], family: int, note: str) -> Packet:
    return Packet(*sample(box, family), hops, note)
