"""One packet on paper: whether it arrives, and which rule of which machine decides that."""

from __future__ import annotations

from typing import NamedTuple

from qhs.net.prove.cells import Judge
from qhs.net.prove.facts import Area, Node
from qhs.net.prove.filters import View
from qhs.net.prove.intent import local_view
from qhs.net.prove.paths import Hop, Way
from qhs.net.prove.space import Box, both


class Answer(NamedTuple):
    """What becomes of a packet, and the machines on its way: the last one decided."""

    passes: bool
    hops: tuple[Hop, ...]


def follow(judge: Judge, packet: Box, source: str, destination: str, family: int) -> Answer:
    """A new packet from anyone on the wire of a place to an address in another."""
    start, end = judge.facts.areas[source], judge.facts.areas[destination]
    if start.network == end.network:
        ways = [Way(packet, ())]
    else:
        reached = judge.paths.reached(start.network, family).get(end.network, [])
        ways = [Way(box, way.hops) for way in reached if (box := both(way.box, packet))]
    for way in ways:
        for delivered in judge.paths.delivered(way, end.network, family):
            return Answer(True, delivered.hops)
    for way in ways:
        for node in judge.facts.nodes.values():
            leg = node.by_network.get(end.network)
            if leg and both(packet, Box(packet.src, leg.own[family], packet.svc)):
                last = enter(judge, packet, node.name, leg.name, family)
                return Answer(False, (*way.hops, *last.hops))
    return Answer(False, _stopped(judge, packet, start, end, family))


def enter(judge: Judge, packet: Box, node: str, port: str, family: int) -> Answer:
    """What a machine makes of a packet for itself that comes in by one of its ports."""
    view = local_view("input", port, family)
    for hit in judge.filters[node].allowed(view):
        if both(hit.box, packet):
            return Answer(True, (Hop(node, port, "", hit.by),))
    return Answer(False, (_stop(judge, judge.facts.nodes[node], packet, view),))


def _stopped(judge: Judge, packet: Box, start: Area, end: Area, family: int) -> tuple[Hop, ...]:
    """Where it ends on the way that routing takes."""
    for way in judge.paths.routed(start, end) or ():
        for step in way:
            view = step.view(family)
            if not any(both(hit.box, packet) for hit in judge.filters[step.node.name].allowed(view)):
                return (_stop(judge, step.node, packet, view),)
    return ()


def _stop(judge: Judge, node: Node, packet: Box, view: View) -> Hop:
    return Hop(node.name, view.iif, view.oif, judge.filters[node.name].stops(view, packet))
