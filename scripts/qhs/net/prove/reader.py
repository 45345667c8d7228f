"""Reads `nft -j list ruleset` (nft 1.0.6 to 1.1) into filters. What it does not understand is an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any, Literal

from qhs.errors import UserError
from qhs.net.prove.filters import Chain, Filter, Names, Rule, Verdict
from qhs.net.prove.space import ANY_ADDRESS, ANY_SERVICE, PORTS, PROTOCOLS, Spans, meet, minus, service, union

FAMILIES = {"inet": None, "ip": 4, "ip6": 6}
SILENT = ("counter", "log")
# Written by a node's kube-proxy: it leads what goes to a service of the cluster, addresses of no place, to pods, and
# refuses what no pod answers. What it has led is a packet like any other to the chains that are read here.
CLUSTER_TABLES = ("ip kube-proxy", "ip6 kube-proxy")
# Written by its kube-router, and the gate behind that: what policies of the cluster leave of what passes. They come and
# go with pods. No flow needs them: as filters alone they can only take away.
POLICY_TABLES = ("ip filter", "ip6 filter", "inet qhs-pods")
ECHO = {"echo-request": {1: 8, 58: 128}, "echo-reply": {1: 0, 58: 129}}
TYPES = {
    1: {"destination-unreachable": 3, "redirect": 5, "time-exceeded": 11, "parameter-problem": 12},
    58: {
        "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
        "mld-listener-query": 130, "mld-listener-report": 131, "mld-listener-done": 132, "nd-router-solicit": 133,
        "nd-router-advert": 134, "nd-neighbor-solicit": 135, "nd-neighbor-advert": 136, "nd-redirect": 137,
        "mld2-listener-report": 143,
    },
}  # fmt: skip
PORTED = ("tcp", "udp", "sctp", "udplite")
COMPARE: dict[str, Callable[[datetime, datetime], bool]] = {
    "<": lambda now, then: now < then,
    "<=": lambda now, then: now <= then,
    ">": lambda now, then: now > then,
    ">=": lambda now, then: now >= then,
}


class NotUnderstoodError(UserError):
    """A rule that the prover cannot decide about: nothing is proved while it stands."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "take it off the machine, or teach scripts/qhs/net/prove/reader.py what it means")


def read(listing: Mapping[str, Any], machine: str) -> Filter:
    """The filter of a machine at all times; `listing` is what `nft -j list ruleset` printed under `TZ=UTC`.

    Raises NotUnderstoodError, naming machine and rule, for anything that could change a decision and is not known.
    """
    items = listing.get("nftables")
    if not isinstance(items, list):
        raise NotUnderstoodError(f"{machine}: found no list `nftables`; wanted the output of `nft -j list ruleset`")
    items = [one for one in items if not (_in(CLUSTER_TABLES, one) or _takes_away(one))]
    sets = {_key(one["set"]): one["set"] for one in items if "set" in one}
    heads = {_key(one["chain"]): one["chain"] for one in items if "chain" in one}
    bodies: dict[str, list[Rule]] = {key: [] for key in heads}
    for item in items:
        kind = next(iter(item))
        if kind == "rule" and item["rule"]["family"] in FAMILIES:
            rule = _RuleReader(machine, item["rule"], sets).read()
            if rule is not None:
                bodies[_key(item["rule"], "chain")].append(rule)
        elif kind not in ("metainfo", "table", "chain", "set", "rule"):
            raise NotUnderstoodError(f"{machine}: found {kind} {item[kind].get('name', '')}, which may steer packets")
    return Filter(machine, {key: _chain(machine, key, head, bodies[key]) for key, head in heads.items()})


def _in(tables: tuple[str, ...], item: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether it is, or stands in, one of these tables."""
    (one,) = item.values()
    return f"{one.get('family')} {one.get('table', one.get('name'))}" in tables


def _takes_away(item: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether it is of the policies of a cluster, and no chain that could change where a packet goes."""
    return _in(POLICY_TABLES, item) and item.get("chain", {}).get("type", "filter") == "filter"


def _key(item: Mapping[str, Any], name: str = "name") -> str:
    return f"{item['family']} {item['table']} {item[name]}"


def _chain(machine: str, key: str, head: Mapping[str, Any], rules: list[Rule]) -> Chain:
    if head["family"] not in FAMILIES:
        return Chain(key, ())  # bridge, arp and netdev tables hold no routed packet of ours
    if head.get("type", "filter") != "filter":
        raise NotUnderstoodError(f"{machine}: chain {key} is of type {head['type']}: addresses change on the way")
    policy: Verdict = "drop" if head.get("policy") == "drop" else "accept"
    return Chain(key, tuple(rules), head.get("hook", ""), policy)


class _RuleReader:
    """One rule, expression by expression."""

    def __init__(self, machine: str, rule: Mapping[str, Any], sets: Mapping[str, Any]) -> None:
        self._machine, self._source, self._sets = machine, rule, sets
        self._rule = Rule(
            rule.get("comment", f"rule {rule.get('handle', '?')}"), "drop", family=FAMILIES[rule["family"]]
        )
        self._alive = True

    def read(self) -> Rule | None:
        """The rule; None where it decides nothing: it only counts, or contradicts itself."""
        decided = False
        for expression in self._source["expr"]:
            (kind, value), *more = expression.items()
            if more or not (kind in SILENT or self._takes(kind, value)):
                raise self._odd(expression)
            decided = decided or kind not in (*SILENT, "match")
        return self._rule if decided and self._alive else None

    def _takes(self, kind: str, value: Any) -> bool:
        match kind:
            case "match":
                self._match(value)
            case "accept" | "return":
                self._rule = replace(self._rule, verdict=kind)
            case "drop" | "reject":
                self._rule = replace(self._rule, verdict="drop")
            case "jump":
                target = f"{self._source['family']} {self._source['table']} {value['target']}"
                self._rule = replace(self._rule, verdict="jump", target=target)
            case _:
                return False
        return True

    def _match(self, match: Mapping[str, Any]) -> None:
        try:
            (kind, left), *_ = match["left"].items()
            key = (kind, left.get("protocol") or left.get("dir", ""), left.get("field") or left["key"])
            self._field(key, match["op"], list(self._elements(match["right"])))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._odd({"match": dict(match)}) from None

    def _field(self, key: tuple[str, str, str], op: str, values: list[Any]) -> None:
        if key == ("meta", "", "time"):
            (then,) = values
            self._while(COMPARE[op], _moment(then))
            return
        if op not in ("==", "in", "!="):
            raise ValueError(op)
        negated = op == "!="
        match key:
            case ("meta", "", "iifname" | "oifname" as name):
                self._name(name, Names(frozenset(map(_text, values)), negated))
            case ("ct", "", "state"):
                self._states(frozenset(map(_text, values)), negated)
            case ("meta", "", "nfproto"):
                (value,) = values
                self._family({"ipv4": 4, "ipv6": 6}[value] if not negated else {"ipv4": 6, "ipv6": 4}[value])
            case ("payload", "ip" | "ip6" as protocol, "saddr" | "daddr" as name):
                self._address(protocol, name, values, negated)
            case ("ct", "original", name):
                self._opened(name, values, negated)
            case ("payload", "ip" | "ip6" as protocol, "protocol" | "nexthdr"):
                self._family(4 if protocol == "ip" else 6)
                self._narrow("svc", _protocols(values), ANY_SERVICE, negated)
            case ("meta", "", "l4proto"):
                self._narrow("svc", _protocols(values), ANY_SERVICE, negated)
            case ("payload", protocol, "dport") if protocol in ("th", *PORTED):
                names = PORTED if protocol == "th" else (protocol,)
                self._ports([PROTOCOLS[name] for name in names], values, negated)
            case ("payload", "icmp" | "icmpv6" as protocol, "type"):
                number = PROTOCOLS[protocol]
                self._family(4 if protocol == "icmp" else 6)
                self._ports([number], [_type(number, value) for value in values], negated)
            case _:
                raise KeyError(key)

    def _opened(self, name: str, values: list[Any], negated: bool) -> None:
        """What the packet's connection was opened with."""
        match name.split():
            case ["ip" | "ip6" as protocol, "saddr" | "daddr" as side]:
                self._address(protocol, side, values, negated)
            case ["proto-dst"]:
                ((low, high),) = self._rule.svc or ()  # of one protocol, as otherwise it would be no port
                number = low // PORTS
                if high >= (number + 1) * PORTS:
                    raise ValueError(name)
                self._ports([number], [_code(value) for value in values] if number in TYPES else values, negated)
            case _:
                raise KeyError(name)

    def _address(self, protocol: str, side: str, values: list[Any], negated: bool) -> None:
        family = 4 if protocol == "ip" else 6
        self._family(family)
        self._narrow("src" if side == "saddr" else "dst", _addresses(values, family), ANY_ADDRESS[family], negated)

    def _while(self, compare: Callable[[datetime, datetime], bool], then: datetime) -> None:
        self._rule = replace(self._rule, within=(*self._rule.within, lambda now: compare(now, then)))

    def _family(self, family: int) -> None:
        if self._rule.family not in (None, family):
            self._alive = False  # a contradiction matches no packet
        self._rule = replace(self._rule, family=family)

    def _states(self, states: frozenset[str], negated: bool) -> None:
        every = frozenset({"new", "established", "related", "invalid", "untracked"})
        if not states <= every:
            raise ValueError(states)
        known = every if self._rule.states is None else self._rule.states
        self._rule = replace(self._rule, states=known & (every - states if negated else states))

    def _ports(self, protocols: list[int], values: list[Any], negated: bool) -> None:
        found = union(service(number, *_bounds(value))[0] for number in protocols for value in values)
        self._narrow("svc", found, union(service(number)[0] for number in protocols), negated)

    def _name(self, key: str, names: Names) -> None:
        if key == "iifname":
            self._rule = replace(self._rule, iif=(*self._rule.iif, names))
        else:
            self._rule = replace(self._rule, oif=(*self._rule.oif, names))

    def _narrow(self, field: Literal["src", "dst", "svc"], spans: Spans, whole: Spans, negated: bool) -> None:
        found = minus(whole, spans) if negated else spans
        known: Spans | None = getattr(self._rule, field)
        narrowed = found if known is None else meet(known, found)
        match field:
            case "src":
                self._rule = replace(self._rule, src=narrowed)
            case "dst":
                self._rule = replace(self._rule, dst=narrowed)
            case "svc":
                self._rule = replace(self._rule, svc=narrowed)

    def _elements(self, right: Any) -> Iterable[Any]:
        if isinstance(right, str) and right.startswith("@"):
            named = self._sets[f"{self._source['family']} {self._source['table']} {right[1:]}"]
            if "timeout" in named.get("flags", []) or "dynamic" in named.get("flags", []):
                raise ValueError("a set that changes by itself")
            right = named.get("elem", [])
        elif isinstance(right, dict) and "set" in right:
            right = right["set"]
        for one in right if isinstance(right, list) else [right]:
            yield one["elem"]["val"] if isinstance(one, dict) and "elem" in one else one

    def _odd(self, expression: Any) -> NotUnderstoodError:
        where = f"{self._source['family']} {self._source['table']} {self._source['chain']}"
        return NotUnderstoodError(
            f"{self._machine}: rule {self._source.get('comment') or self._source.get('handle')} of {where}: found "
            f"{json.dumps(expression)}; wanted a match or a verdict that can be decided"
        )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _moment(value: Any) -> datetime:
    if isinstance(value, int):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(_text(value)).replace(tzinfo=UTC)


def _addresses(values: list[Any], family: int) -> Spans:
    return union(_address_span(value, family) for value in values)


def _address_span(value: Any, family: int) -> tuple[int, int]:
    if isinstance(value, dict) and "range" in value:
        low, high = map(ip_address, value["range"])
        versions, span = {low.version, high.version}, (int(low), int(high))
    else:
        pair = value["prefix"] if isinstance(value, dict) else None
        network = ip_network((pair["addr"], pair["len"]) if pair else _text(value))
        versions, span = {network.version}, (int(network.network_address), int(network.broadcast_address))
    if versions != {family}:
        raise ValueError(value)
    return span


def _protocols(values: list[Any]) -> Spans:
    numbers = (value if isinstance(value, int) else PROTOCOLS[value] for value in values)
    return union(service(number)[0] for number in numbers)


def _bounds(value: Any) -> tuple[int, int]:
    low, high = value["range"] if isinstance(value, dict) else (value, value)
    if not (isinstance(low, int) and isinstance(high, int) and 0 <= low <= high < PORTS):
        raise ValueError(value)
    return low, high


def _code(value: Any) -> int:
    """The type of a message that conntrack holds as type and code."""
    number, code = divmod(value, 256)
    if code:
        raise ValueError(value)
    return int(number)


def _type(protocol: int, value: Any) -> int:
    if isinstance(value, int):
        return value
    return ECHO[value][protocol] if value in ECHO else TYPES[protocol][value]
