"""What the kernel shows of our table, read back into the rules that it was rendered from.

What is not ours is kept as text, so that no change by hand is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network, summarize_address_range
from typing import Any

from stacks.model.addresses import Network, text
from stacks.model.rules import Rule
from stacks.provider.ruleset.nft import (
    CHAINS,
    ENDED,
    GUARD,
    IMPLIED,
    NFPROTO,
    OWN_NAME,
    STAGED,
    Ending,
    Flow,
    OddRule,
    Table,
    endings,
    normal_rule,
    rule_line,
    sequence,
)

UNNAMED = "(unnamed)"
"""Under this name `parse` lists rules that carry no comment: nothing of ours is without one."""

_TIME = "%Y-%m-%d %H:%M:%S"
_SHARED = ("family", "protocol")  # several matches of one rule may imply the same
_STATES = ("ct", "", "state")
_NAMES = {("meta", "", "iifname"): "iif", ("meta", "", "oifname"): "oif"}
_ADDRESSES = {"saddr": "sources", "daddr": "destinations"}

Expression = dict[str, Any]


def parse(listing: Mapping[str, Any]) -> Table:
    """The table from what `nft -j list table inet qhs` prints under `TZ=UTC` (nft 1.0.6 to 1.1)."""
    chains: list[str] = []
    foreign: list[str] = []
    rules: list[tuple[str, _Seen]] = []
    for entry in listing["nftables"]:
        (kind, content), *_ = entry.items()
        if kind == "rule":
            name = content.get("comment", UNNAMED)
            rules.append((name, _Seen(content["chain"], content["expr"], name)))
        elif _is_ours(kind, content):
            chains += [content["name"]] if kind == "chain" else []
        else:
            foreign.append(_shown({kind: {k: v for k, v in content.items() if k not in ("handle", "family", "table")}}))
    foreign += [f"chain {chain} is missing" for chain in CHAINS if chain not in chains]
    guards = tuple((n.removeprefix(GUARD), s.guard()) for n, s in rules if n.startswith(GUARD))
    by_flow: dict[str, list[_Seen]] = {}
    ends: dict[str, list[Rule]] = {}
    for name, seen in rules:
        if name.startswith(ENDED):
            ends.setdefault(name.removeprefix(ENDED), []).append(seen.ending())
        elif not name.startswith(GUARD):
            by_flow.setdefault(name, []).append(seen)
    flows = {name: _flow_of(by_flow[name]) for name in sorted(by_flow)}
    foreign += _wrong_ends(flows, ends)
    return Table(guards, flows, sequence((seen.rule.chain, name) for name, seen in rules), tuple(foreign))


def _wrong_ends(flows: Mapping[str, Flow], ends: Mapping[str, list[Rule]]) -> Iterable[str]:
    """What ends with a flow follows from its rules and its expiry, so it is told only where it does not."""
    for name in sorted({*flows, *ends}):
        wanted = endings(flows[name]) if name in flows else []
        found = ends.get(name, [])
        more, less = [one for one in found if one not in wanted], [one for one in wanted if one not in found]
        if found != wanted:
            told = [f"found {_told(more)}"] * bool(more) + [f"missing {_told(less)}"] * bool(less)
            yield f"{ENDED}{name}: {', '.join(told) or 'in another order, or twice'}"


def _told(rules: Iterable[Rule]) -> str:
    return "; ".join(map(rule_line, rules))


def _is_ours(kind: str, content: Expression) -> bool:
    if kind == "chain":
        name = content["name"]
        wanted = {"type": "filter", "hook": name, "prio": 0, "policy": "drop"}
        extra = content.keys() - {"family", "table", "name", "handle"}
        return name in CHAINS and {key: content[key] for key in extra} == wanted
    return kind == "metainfo" or (kind == "table" and not content.keys() - {"family", "name", "handle"})


def _shown(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _flow_of(seen: list[_Seen]) -> Flow:
    """A flow has one expiry and one stage: a rule of it that differs from the first is an odd one."""
    first = seen[0]
    return Flow(tuple(one.as_in(first) for one in seen), first.expires, first.staged)


class _Seen:
    """One rule of the kernel, read expression by expression."""

    def __init__(self, chain: str, expressions: list[Expression], name: str) -> None:
        self.rule = Rule(chain, verdict="")
        self.expires: datetime | None = None
        self.staged = False
        self._since: datetime | None = None
        self._is_ending = name.startswith(ENDED)
        self._counted = False
        self._prefix = STAGED.format(name)
        self._odd = [_shown(one) for one in expressions if not self._takes(one)]
        if not self._counted:
            self._odd.append("no counter")

    def guard(self) -> Rule:
        """As a guard, which neither expires nor is staged."""
        return self._finished(expires=None, staged=False)

    def as_in(self, flow: _Seen) -> Rule:
        """As a rule of the flow that begins with another rule."""
        return self._finished(expires=flow.expires, staged=flow.staged)

    def ending(self) -> Rule:
        """As what ends with a flow."""
        rule = self._finished(expires=None, staged=False)
        return rule if isinstance(rule, OddRule) else Ending(**asdict(rule), since=self._since)

    def _finished(self, *, expires: datetime | None, staged: bool) -> Rule:
        odd = list(self._odd)
        if self.expires != expires:
            odd.append(f"expires {self.expires}")
        if self.staged != staged:
            odd.append("staged" if self.staged else "not staged")
        rule = normal_rule(self.rule)
        return OddRule(**asdict(rule), raw="; ".join(odd)) if odd else rule

    def _takes(self, expression: Expression) -> bool:
        (kind, value), *_ = expression.items()
        if kind == "match":
            return self._takes_match(value)
        if kind == "counter":
            self._counted = True
            return True
        if kind == "log" and value == {"prefix": self._prefix}:
            self.staged = True
            return True
        return kind in ("accept", "drop") and self._sets(verdict=kind)

    def _takes_match(self, match: Expression) -> bool:
        (kind, left), *_ = match["left"].items()
        key = (kind, left.get("protocol") or left.get("dir", ""), left.get("field") or left.get("key"))
        operator, right = match["op"], match["right"]
        try:
            if key == ("meta", "", "time"):
                return self._takes_moment(operator, datetime.strptime(right, _TIME).replace(tzinfo=UTC))
            if operator not in ("==", "in"):
                return False
            return self._sets(**(_of_connection if self._is_ending else _fields)(key, right))
        except (KeyError, TypeError, ValueError):
            return False

    def _takes_moment(self, operator: str, moment: datetime) -> bool:
        if self._is_ending and operator == ">=" and self._since is None:
            self._since = moment
        elif not self._is_ending and operator == "<" and self.expires is None:
            self.expires = moment
        else:
            return False
        return True

    def _sets(self, **fields: Any) -> bool:
        """Takes values for fields that are still empty; a second match of the same field is an odd one."""
        for name, value in fields.items():
            found = getattr(self.rule, name)
            if found and not (name in _SHARED and found == value):
                return False
        self.rule = replace(self.rule, **fields)
        return True


def _fields(key: tuple[str, str, str], right: Any) -> dict[str, Any]:
    """The fields of a rule that one match stands for. Raises KeyError or ValueError where none do."""
    if key in _NAMES and isinstance(right, str):
        return {_NAMES[key]: right}
    if key == _STATES:
        return {"states": tuple(str(one) for one in _elements(right))}
    kind, protocol, name = key
    if kind == "meta":
        return _meta(name, right)
    if kind != "payload":
        raise KeyError(key)
    if name == "type":
        return {"protocol": protocol, "family": IMPLIED[protocol], "icmp_types": tuple(map(str, _elements(right)))}
    if name == "dport":
        return {"protocol": protocol, "ports": tuple(_port(one) for one in _elements(right))}
    return _addresses(protocol, name, right)


def _of_connection(key: tuple[str, str, str], right: Any) -> dict[str, Any]:
    """As `_fields`, of what ends with a flow: it asks what a connection was opened with."""
    *kind, name = key
    if key in _NAMES or name == "nfproto":
        return _fields(key, right)
    if name == "l4proto":
        return {"protocol": _protocol(right)}
    if kind != ["ct", "original"]:
        raise KeyError(key)
    if name == "proto-dst":
        return {"ports": tuple(_port(one) for one in _elements(right))}
    family, _, side = name.partition(" ")
    return _addresses(family, side, right)


def _addresses(family: str, side: str, right: Any) -> dict[str, Any]:
    networks = [network for one in _elements(right) for network in _networks(one)]
    return {"family": family, _ADDRESSES[side]: tuple(map(text, networks))}


def _protocol(right: Any) -> str:
    return {value: key for key, value in OWN_NAME.items()}.get(right, str(right))


def _meta(name: str, right: Any) -> dict[str, Any]:
    if name == "nfproto":
        return {"family": {value: key for key, value in NFPROTO.items()}[right]}
    if name != "l4proto":
        raise KeyError(name)
    protocol = _protocol(right)
    return {"protocol": protocol, "family": IMPLIED[protocol]} if protocol in IMPLIED else {"protocol": protocol}


def _elements(right: Any) -> list[Any]:
    if isinstance(right, dict) and "set" in right:
        return list(right["set"])
    return right if isinstance(right, list) else [right]


def _port(value: Any) -> str:
    if isinstance(value, dict):
        low, high = value["range"]
        return f"{low}-{high}"
    return str(int(value))


def _networks(value: Any) -> Iterable[Network]:
    if isinstance(value, str):
        return [ip_network(value)]
    if "prefix" in value:
        return [ip_network((value["prefix"]["addr"], value["prefix"]["len"]))]
    low, high = (ip_address(one) for one in value["range"])
    return summarize_address_range(low, high)
