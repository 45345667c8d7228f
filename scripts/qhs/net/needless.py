"""Rules that decide nothing: taken away, the machine would let through what it lets through now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from qhs.net.prove.filters import Chain, Names, Rule, View, match
from qhs.net.prove.space import FAMILIES, Box, both, without

ELSEWHERE = ""
"""Stands for every interface that no rule of the chain names."""


type Met = list[tuple[Rule, Box]]
"""Rules in their order, with the packets that each matches."""


@dataclass
class Standing:
    """What a rule decides, looked at with all others in place."""

    rule: Rule
    reached: bool = False
    """Some packet gets as far as this rule."""
    needed: bool = False
    """Some packet would be stopped without it."""
    by: set[str] = field(default_factory=set)
    """What decides about its packets before it, or would after it."""

    @property
    def kind(self) -> Literal["shadowed", "redundant"] | None:
        """`shadowed`: others have decided already. `redundant`: others would let the same through further down."""
        return None if self.needed else "redundant" if self.reached else "shadowed"


def standings(chain: Chain) -> list[Standing]:
    """Every rule of a base chain that lets something through, judged by packets that open a connection."""
    found = {id(rule): Standing(rule) for rule in chain.rules if rule.verdict == "accept"}
    for met in _views(chain):
        for position, (rule, box) in enumerate(met):
            if id(rule) in found:
                _look(found[id(rule)], box, met[:position], met[position + 1 :], chain.policy == "accept")
    return list(found.values())


def _look(one: Standing, box: Box, before: Met, after: Met, open_end: bool) -> None:
    left = [box]
    for rule, taken in before:
        left = _without(left, taken, rule, one)
    one.reached = one.reached or bool(left)
    for rule, taken in after:
        if rule.verdict == "accept":
            left = _without(left, taken, rule, one)
        elif any(both(piece, taken) for piece in left):
            one.needed = True  # a drop; or a jump, which nobody followed
    one.needed = one.needed or bool(left and not open_end)


def _without(pieces: list[Box], taken: Box, rule: Rule, one: Standing) -> list[Box]:
    if not any(both(piece, taken) for piece in pieces):
        return pieces
    one.by.add(rule.label)
    return [left for piece in pieces for left in without(piece, taken)]


def _views(chain: Chain) -> Iterator[Met]:
    """For every way to enter and to leave that the rules of a chain tell apart, what meets packets on it."""
    left = _names(rule.oif for rule in chain.rules)
    for iif in _names(rule.iif for rule in chain.rules):
        entering = [rule for rule in chain.rules if all(names.has(iif) for names in rule.iif)]
        for oif, family in product(left, FAMILIES):
            view = View(chain.hook, iif, oif, family)
            yield [(rule, box) for rule in entering if (box := match(rule, view))]


def _names(matches: Iterable[tuple[Names, ...]]) -> list[str]:
    return sorted({ELSEWHERE, *(pattern for one in matches for names in one for pattern in names.patterns)})
