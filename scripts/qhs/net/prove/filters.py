"""What a machine's packet filter decides: chains as the kernel holds them, evaluated over sets of packets.

Shares nothing with what renders rules: it is filled from `nft -j list ruleset` alone (see `reader.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from qhs.net.prove.space import ANY_ADDRESS, ANY_SERVICE, Box, Spans, anything, both, rest

State = Literal["new", "established", "related", "invalid"]
Verdict = Literal["accept", "drop", "return", "jump"]


@dataclass(frozen=True)
class Names:
    """A match on an interface's name; `*` at an end as nft knows it."""

    patterns: frozenset[str]
    negated: bool = False

    def has(self, name: str) -> bool:
        """Whether an interface of this name matches; the empty name is no interface."""
        found = name in self.patterns or any(fnmatchcase(name, one) for one in self.patterns if one.endswith("*"))
        return found != self.negated


@dataclass(frozen=True)
class Rule:
    """One rule; None matches everything."""

    label: str
    verdict: Verdict
    target: str = ""
    """The chain that a jump leads to."""
    iif: tuple[Names, ...] = ()
    oif: tuple[Names, ...] = ()
    family: int | None = None
    src: Spans | None = None
    dst: Spans | None = None
    svc: Spans | None = None
    states: frozenset[str] | None = None
    within: tuple[Callable[[datetime], bool], ...] = ()
    """Moments at which it stands: all of these say so."""


@dataclass(frozen=True)
class Chain:
    """Rules in order; a base chain also has a hook and a policy."""

    key: str
    rules: tuple[Rule, ...]
    hook: str = ""
    policy: Verdict = "accept"


class Hit(NamedTuple):
    """Packets that are let through, and the rule that decided."""

    box: Box
    by: str


class View(NamedTuple):
    """From where a filter is looked at. In every state but `new`, addresses, protocol and port of a packet are those
    that its connection was opened with: rules without NAT tell connections apart by nothing else.
    """

    hook: str
    iif: str
    oif: str
    family: int
    state: State = "new"


@dataclass(frozen=True)
class Filter:
    """All chains of one machine. Decisions are remembered: do not change a filter, make another one."""

    machine: str
    chains: dict[str, Chain]
    _known: dict[View, tuple[Hit, ...]] = field(default_factory=dict, compare=False, repr=False)
    _entering: dict[tuple[str, str], list[Rule]] = field(default_factory=dict, compare=False, repr=False)

    def at(self, now: datetime) -> Filter:
        """What is left of it at a moment."""
        alive = {
            key: replace(chain, rules=tuple(rule for rule in chain.rules if all(says(now) for says in rule.within)))
            for key, chain in self.chains.items()
        }
        return Filter(self.machine, alive)

    def dated(self, view: View) -> bool:
        """Whether a rule that stands for a time only has a say there."""
        return any(
            rule.within and match(rule, view) is not None
            for chain in self.chains.values()
            if chain.hook == view.hook
            for rule in self._from(chain, view.iif)
        )

    def allowed(self, view: View) -> tuple[Hit, ...]:
        """Every packet of that view which passes. Several base chains at one hook must all let it pass."""
        if view not in self._known:
            everything = anything(view.family)
            hits = [Hit(everything, "no chain at this hook")]
            for chain in self.chains.values():
                if chain.hook == view.hook:
                    passed = self._passed(chain, view)
                    hits = [
                        Hit(box, two.by)
                        for one in hits
                        for two in passed
                        if (box := both(one.box, two.box)) is not None
                    ]
            self._known[view] = tuple(hits)
        return self._known[view]

    def stops(self, view: View, packet: Box) -> str:
        """What takes a packet that does not pass: the first drop that matches it, or the policy of the chain."""
        base = [chain for chain in self.chains.values() if chain.hook == view.hook]
        for chain in base:
            if not any(both(hit.box, packet) for hit in self._passed(chain, view)):
                drops = (
                    r.label for r in chain.rules if r.verdict == "drop" and (m := match(r, view)) and both(m, packet)
                )
                return next(drops, f"policy {chain.policy} of {chain.key}")
        return "nothing"

    def _passed(self, chain: Chain, view: View) -> list[Hit]:
        everything = anything(view.family)
        hits: list[Hit] = []
        dropped: list[Box] = []
        self._walk(chain, view, everything, hits, dropped)
        if chain.policy == "accept":
            hits += [Hit(box, f"policy of {chain.key}") for box in rest(everything, dropped)]
        return hits

    def _walk(self, chain: Chain, view: View, scope: Box, hits: list[Hit], dropped: list[Box]) -> None:
        """First match wins: an accept counts for what no earlier drop, or return of this chain, took."""
        returned: list[Box] = []
        for rule in self._from(chain, view.iif):
            box = match(rule, view)
            box = both(scope, box) if box else None
            if box is None:
                continue
            if rule.verdict == "return":
                returned.append(box)
                continue
            pieces = rest(box, [*dropped, *returned])
            if rule.verdict == "accept":
                hits += [Hit(piece, rule.label) for piece in pieces]
            elif rule.verdict == "drop":
                dropped += _not_taken(pieces, hits)
            else:
                for piece in pieces:
                    self._walk(self.chains[rule.target], view, piece, hits, dropped)
                continue
            if box == scope:
                return  # nothing gets past this rule

    def _from(self, chain: Chain, iif: str) -> list[Rule]:
        """The rules of a chain for one port that packets come in by: most rules name another one."""
        key = chain.key, iif
        if key not in self._entering:
            self._entering[key] = [rule for rule in chain.rules if all(names.has(iif) for names in rule.iif)]
        return self._entering[key]


def _not_taken(pieces: list[Box], hits: list[Hit]) -> list[Box]:
    """What a drop really drops: an earlier accept has decided already."""
    taken = [hit.box for hit in hits]
    return [left for piece in pieces for left in rest(piece, taken)]


def touches(rule: Rule, view: View) -> bool:
    """Whether some packet of that view, in whatever state, can come to match the rule."""
    ports = all(names.has(view.iif) for names in rule.iif) and all(names.has(view.oif) for names in rule.oif)
    return ports and rule.family in (None, view.family)


def match(rule: Rule, view: View) -> Box | None:
    """What a rule for this incoming port matches."""
    if rule.family not in (None, view.family) or (rule.states is not None and view.state not in rule.states):
        return None
    if rule.oif and not all(names.has(view.oif) for names in rule.oif):
        return None
    anywhere = ANY_ADDRESS[view.family]
    box = Box(
        anywhere if rule.src is None else rule.src,
        anywhere if rule.dst is None else rule.dst,
        ANY_SERVICE if rule.svc is None else rule.svc,
    )
    return box if all(box) else None
