"""What should be allowed where: the declared conversations, laid along the ways that they take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from qhs.net.prove.facts import Facts, Node, Talk
from qhs.net.prove.filters import View
from qhs.net.prove.paths import Paths, Step
from qhs.net.prove.space import ANY_ADDRESS, ANY_SERVICE, FAMILIES, Box, both


@dataclass(frozen=True)
class Alive:
    """A conversation that is allowed now, or was until it expired."""

    talk: Talk
    box: dict[int, Box]
    ways: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True)
class Intent:
    """Everything that is meant to pass, from each point of view."""

    alive: tuple[Alive, ...]
    wanted: dict[tuple[str, str, str], Alive]
    """By source, destination and service."""
    between: dict[tuple[str, str, int], list[Box]]
    """By the wires that it comes from and goes to."""
    at: dict[tuple[str, View], list[Box]]
    """By machine and decision."""
    ended: dict[tuple[str, View], list[Box]]
    """As `at`, what expired conversations let pass."""


def intend(facts: Facts, paths: Paths, now: datetime) -> Intent:
    """Expired conversations are none; staged ones count as allowed. Ways that pass nothing of ours are left out."""
    alive: list[Alive] = []
    ended: list[Alive] = []
    for talk in facts.talks:
        ways = paths.routed(facts.areas[talk.source], facts.areas[talk.target.area])
        if ways is not None:
            one = Alive(talk, {family: talk.box(facts, family) for family in FAMILIES}, tuple(ways))
            (ended if talk.flow.expired(now) else alive).append(one)
    between: dict[tuple[str, str, int], list[Box]] = defaultdict(list)
    for one in alive:
        wires = facts.areas[one.talk.source].network, facts.areas[one.talk.target.area].network
        for family, box in one.box.items():
            between[*wires, family].append(box)
    at = _at(facts, alive)
    for local in facts.locals:
        at[local.node, local_view(local.hook, local.leg, local.family)].append(local.box)
    wanted = {(one.talk.source, one.talk.target.area, one.talk.target.service): one for one in alive}
    return Intent(tuple(alive), wanted, dict(between), dict(at), dict(_at(facts, ended)))


def local_view(hook: str, leg: str, family: int) -> View:
    """The decision of a machine about what enters or leaves itself by one of its ports."""
    return View(hook, leg if hook == "input" else "", leg if hook == "output" else "", family)


def back(view: View) -> View:
    """The decision about the answers to what passes there."""
    hooks = {"input": "output", "output": "input"}
    return view._replace(hook=hooks.get(view.hook, view.hook), iif=view.oif, oif=view.iif)


def _at(facts: Facts, talks: list[Alive]) -> dict[tuple[str, View], list[Box]]:
    """Conversations by every decision on their ways."""
    at: dict[tuple[str, View], list[Box]] = defaultdict(list)
    for one in talks:
        for family, box in one.box.items():
            for step in {step for way in one.ways for step in way}:
                at[step.node.unit, step.view(family)].append(box)
    _at_hosts(facts, talks, at)
    return at


def _at_hosts(facts: Facts, alive: list[Alive], at: dict[tuple[str, View], list[Box]]) -> None:
    """A machine takes in what is for its own addresses, and sends what its place may send."""
    by_network: dict[str, list[tuple[Node, str, dict[int, Box]]]] = defaultdict(list)
    for node in facts.nodes.values():
        for leg in node.legs:
            own = {f: Box(ANY_ADDRESS[f], leg.own[f], ANY_SERVICE) for f in FAMILIES}
            by_network[leg.network].append((node, leg.name, own))
    for one in alive:
        source, target = facts.areas[one.talk.source].network, facts.areas[one.talk.target.area].network
        for family, box in one.box.items():
            for node, port, _ in by_network[source]:
                theirs = source == facts.link and facts.areas[one.talk.source].site == node.site
                if not node.firewall or theirs or (one.talk.flow.firewalls and source == target):
                    at[node.name, local_view("output", port, family)].append(box)
            for node, port, own in by_network[target]:
                if not node.firewall and (mine := both(box, own[family])):
                    at[node.name, local_view("input", port, family)].append(mine)
                for other, by in _heard(facts, one.talk, node):
                    if mine := both(box, own[family]):
                        at[other, local_view("input", by, family)].append(mine)


def _heard(facts: Facts, talk: Talk, node: Node) -> Iterator[tuple[str, str]]:
    """Who hears what is said to a firewall of a service that everyone has, and by which port: the members of its pair,
    which have one ruleset, from the wire that both are on or between the sites.
    """
    source, target = facts.areas[talk.source], facts.areas[talk.target.area]
    if not (node.firewall and talk.target.everyone and source.site):
        return
    for other in facts.nodes.values():
        if other.unit == node.unit and target.network == facts.link and source.site != node.site:
            yield other.name, facts.link
        elif other.unit == node.unit and source is target:
            yield other.name, other.by_network[source.network].name
