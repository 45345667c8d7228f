"""T-F17: rulesets with one rule deleted, added or moved. Each one that decides otherwise must make the proof red."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, NamedTuple

from qhs.net.prove import Judge, decided
from qhs.net.prove.filters import Filter, Rule, View, touches
from qhs.net.prove.reader import read
from qhs.net.prove.space import rest

type Kind = Literal["delete", "add", "reorder"]
type Json = dict[str, Any]
KINDS: tuple[Kind, ...] = ("delete", "add", "reorder")


class Mutant(NamedTuple):
    """One rule of one machine that goes, comes, or goes and comes elsewhere."""

    kind: Kind
    machine: str
    what: str
    chain: str
    goes: int | None
    """Its position in the chain."""
    comes: int | None
    """Its position once it is gone from where it was."""
    rule: Json
    """As nft lists it."""


class Fates(NamedTuple):
    """What became of mutants."""

    killed: list[Mutant]
    survived: list[Mutant]
    equal: list[Mutant]
    """They decide about every packet as the rules do that they were made from: there is nothing to find."""


def mutants(listings: Mapping[str, Json]) -> Iterator[Mutant]:
    """All of them, of each ruleset once: the members of a pair have the same."""
    seen: set[str] = set()
    for machine, listing in listings.items():
        if (text := json.dumps(listing)) not in seen:
            seen.add(text)
            for chain in ("input", "forward", "output"):
                rules = [item["rule"] for item in listing["nftables"] if item.get("rule", {}).get("chain") == chain]
                yield from _of_chain(machine, f"inet qhs {chain}", rules)


def _of_chain(machine: str, chain: str, rules: list[Json]) -> Iterator[Mutant]:
    dropped = False
    for at, rule in enumerate(rules):
        name = f"{chain} {rule['comment']} (rule {at + 1})"
        drop = {**rule, "expr": [*(one for one in rule["expr"] if "match" in one), {"drop": None}]}
        matches = [number for number, one in enumerate(rule["expr"]) if "match" in one and not _needed(one, rule)]
        wider = {
            **rule,
            "expr": [one for number, one in enumerate(rule["expr"]) if number != matches[at % len(matches)]],
        }
        yield Mutant("delete", machine, f"{name} deleted", chain, at, None, rule)
        yield Mutant("add", machine, f"a drop before {name}", chain, None, at, drop)
        yield Mutant("add", machine, f"{name} again without one of its matches", chain, None, at + 1, wider)
        if dropped:  # among rules that all accept, order decides nothing
            yield Mutant("reorder", machine, f"{name} moved to the front", chain, at, 0, rule)
        if {"drop": None} in rule["expr"]:
            dropped = True
            yield Mutant("reorder", machine, f"{name} moved to the end", chain, at, len(rules) - 1, rule)


def _needed(match: Json, rule: Json) -> bool:
    """Without its protocol, no kernel takes the port that a connection was opened with."""
    ports = any("proto-dst" in json.dumps(one) for one in rule["expr"])
    return ports and match["match"]["left"] == {"meta": {"key": "l4proto"}}


def fates(base: Judge, listings: Mapping[str, Json], chosen: Iterable[Mutant]) -> Fates:
    """The fate of each, by the cells that its rule can change; what they do not find, the whole proof has to."""
    found = Fates([], [], [])
    moments = [base.now, *base.ahead]
    for one in chosen:
        heads = [item for item in listings[one.machine]["nftables"] if "rule" not in item]
        (rule,) = read({"nftables": [*heads, {"rule": one.rule}]}, one.machine).chains[one.chain].rules
        changed = base.changed(one.machine, _changed(base.timeless[one.machine], one, rule))
        hook = base.timeless[one.machine].chains[one.chain].hook
        views = {
            view for view in base.views(base.facts.nodes[one.machine]) if view.hook == hook and touches(rule, view)
        }
        if any(cell.packet for cell in changed.about(one.machine, views)):
            found.killed.append(one)
        elif all(_alike(base, changed, one.machine, views, moment) for moment in moments):
            found.equal.append(one)
        else:
            (found.killed if decided(changed).violations else found.survived).append(one)
    return found


def _changed(base: Filter, one: Mutant, rule: Rule) -> Filter:
    chain = base.chains[one.chain]
    rules = list(chain.rules)
    if one.goes is not None:
        assert rules.pop(one.goes).label == rule.label
    if one.comes is not None:
        rules.insert(one.comes, rule)
    return Filter(base.machine, {**base.chains, one.chain: replace(chain, rules=tuple(rules))})


def _alike(base: Judge, changed: Judge, machine: str, views: Iterable[View], moment: datetime) -> bool:
    one, other = (judge.timeless[machine].at(moment) for judge in (base, changed))
    states = ("new", "established", "related", "invalid")
    return all(_same(one, other, view._replace(state=state)) for view in views for state in states)


def _same(one: Filter, other: Filter, view: View) -> bool:
    first, second = ([hit.box for hit in each.allowed(view)] for each in (one, other))
    return not any(rest(box, second) for box in first) and not any(rest(box, first) for box in second)
