"""What should be allowed where: the declared conversations, laid along the ways that they take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from qhs.net.prove.facts import Facts, Leg, Node, Talk
from qhs.net.prove.filters import View
from qhs.net.prove.paths import Paths, Step
from qhs.net.prove.space import ANY_ADDRESS, ANY_SERVICE, FAMILIES, Box, both, meet


@dataclass(frozen=True)
class Alive:
    """A conversation that is allowed now, or was until it expired."""

    talk: Talk
    box: dict[int, Box]
    ways: tuple[tuple[Step, ...], ...]


class Need(NamedTuple):
    """Packets of a conversation that a machine must let out or in."""

    node: Node
    view: View
    box: Box


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
    needs: dict[tuple[str, str, str], list[Need]]
    """By source, destination and service: what its ends decide, firewalls among them where they speak or answer."""
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
    at, needs = _at(facts, alive)
    for local in facts.locals:
        at[local.node, local_view(local.hook, local.leg, local.family)].append(local.box)
    wanted = {_names(one.talk): one for one in alive}
    return Intent(tuple(alive), wanted, dict(between), dict(at), needs, dict(_at(facts, ended)[0]))


def local_view(hook: str, leg: str, family: int) -> View:
    """The decision of a machine about what enters or leaves itself by one of its ports."""
    return View(hook, leg if hook == "input" else "", leg if hook == "output" else "", family)


def back(view: View) -> View:
    """The decision about the answers to what passes there."""
    hooks = {"input": "output", "output": "input"}
    return view._replace(hook=hooks.get(view.hook, view.hook), iif=view.oif, oif=view.iif)


def _names(talk: Talk) -> tuple[str, str, str]:
    return talk.source, talk.target.area, talk.target.service


def _at(
    facts: Facts, talks: list[Alive]
) -> tuple[dict[tuple[str, View], list[Box]], dict[tuple[str, str, str], list[Need]]]:
    """Conversations by every decision on their ways, and what their ends decide."""
    at: dict[tuple[str, View], list[Box]] = defaultdict(list)
    for one in talks:
        for family, box in one.box.items():
            for step in {step for way in one.ways for step in way}:
                at[step.node.unit, step.view(family)].append(box)
    return at, _at_hosts(facts, talks, at)


def _at_hosts(
    facts: Facts, alive: list[Alive], at: dict[tuple[str, View], list[Box]]
) -> dict[tuple[str, str, str], list[Need]]:
    """A machine takes in what is for its own addresses, and sends what its place may send."""
    needs: dict[tuple[str, str, str], list[Need]] = {}
    by_network: dict[str, list[tuple[Node, Leg]]] = defaultdict(list)
    for node in facts.nodes.values():
        for leg in node.legs:
            by_network[leg.network].append((node, leg))
    for one in alive:
        found = needs.setdefault(_names(one.talk), [])
        source, target = facts.areas[one.talk.source].network, facts.areas[one.talk.target.area].network
        for family, box in one.box.items():
            for node, leg in by_network[source]:
                theirs = source == facts.link and facts.areas[one.talk.source].site == node.site
                if not node.firewall or theirs or (one.talk.flow.firewalls and source == target):
                    at[node.name, local_view("output", leg.name, family)].append(box)
                    if own := meet(box.src, leg.own[family]):
                        found.append(Need(node, local_view("output", leg.name, family), box._replace(src=own)))
            for node, leg in by_network[target]:
                mine = both(box, Box(ANY_ADDRESS[family], leg.own[family], ANY_SERVICE))
                if mine is None:
                    continue
                hearers = [*_heard(facts, one.talk, node), *(() if node.firewall else ((node, leg.name),))]
                for other, by in hearers:
                    at[other.name, local_view("input", by, family)].append(mine)
                    found.append(Need(other, local_view("input", by, family), mine))
    return needs


def _heard(facts: Facts, talk: Talk, node: Node) -> Iterator[tuple[Node, str]]:
    """Who hears what is said to a firewall of a service that everyone has, and by which port: the members of its pair,
    which have one ruleset, from the wire that both are on or between the sites.
    """
    source, target = facts.areas[talk.source], facts.areas[talk.target.area]
    if not (node.firewall and talk.target.everyone and source.site):
        return
    for other in facts.nodes.values():
        if other.unit == node.unit and target.network == facts.link and source.site != node.site:
            yield other, other.by_network[facts.link].name
        elif other.unit == node.unit and source is target:
            yield other, other.by_network[source.network].name
