"""Rulesets as nftables text, and the form in which a kernel shows them.

`listing.parse(kernel(render(x)))` is `normal(x)`: nft itself merges prefixes and ports that touch, so both sides
are compared in that one form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from functools import cache
from ipaddress import collapse_addresses, ip_network
from itertools import groupby
from typing import Protocol

from stacks.model.addresses import Network, text
from stacks.model.rules import Rule

FAMILY, TABLE = "inet", "qhs"
CHAINS = ("input", "forward", "output")
GUARD, ENDED = "guard:", "expired:"

STAGED = "qhs-staged:{} "
NFPROTO = {"ip": "ipv4", "ip6": "ipv6"}
IMPLIED = {"icmp": "ip", "icmpv6": "ip6"}
OWN_NAME = {"icmpv6": "ipv6-icmp"}  # what nft calls the protocol where it is not an expression of its own
BACK = {"input": "output", "output": "input"}
"""Where answers pass to what a chain lets through, if it is another chain."""
# The messages that open a connection, as conntrack has them in the place of a port: the type, then a code of 0.
OPENING = {"icmp": {"echo-request": 8 << 8}, "icmpv6": {"echo-request": 128 << 8}}

Guards = Sequence[tuple[str, Rule]]


class AnyFlow(Protocol):
    """What of a flow the kernel enforces; `stacks.model.rules.FlowRules` is one."""

    @property
    def rules(self) -> tuple[Rule, ...]: ...
    @property
    def expires(self) -> datetime | None: ...
    @property
    def staged(self) -> bool: ...


@dataclass(frozen=True)
class Flow:
    """The rules of one flow as a kernel enforces them."""

    rules: tuple[Rule, ...]
    expires: datetime | None = None
    """UTC, whole seconds: from then on the rules match nothing."""
    staged: bool = False
    """Logged as well: what these rules let through will be blocked one day."""


@dataclass(frozen=True)
class Ending(Rule):
    """Drops from an expiry on what belongs to a connection that the flow had let in: established, it would go on.

    Addresses and ports are those that the connection was opened with, so they are the same in both directions.
    """

    since: datetime | None = None

    def __str__(self) -> str:
        """As a rule's line, with its moment."""
        return f"{super().__str__()} since={self.since:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class OddRule(Rule):
    """A rule in which something is not ours; it equals no rule of ours."""

    raw: str = ""


@dataclass(frozen=True)
class Table:
    """Our table, as a kernel enforces it."""

    guards: tuple[tuple[str, Rule], ...] = ()
    flows: dict[str, Flow] = field(default_factory=dict)
    sequence: dict[str, list[str]] = field(default_factory=dict)
    """For each chain the names of its rules in their order; a name once for rules that follow each other."""
    foreign: tuple[str, ...] = ()
    """What is in the table and is neither a chain nor a rule as we make them."""


def render(guards: Guards, flows: Mapping[str, AnyFlow]) -> str:
    """The ruleset as text for `nft -f`. Needs no clock."""
    lines: dict[str, list[str]] = {chain: [] for chain in CHAINS}
    for comment, rule in _ordered(guards, flows):
        lines[rule.chain].append(_line(rule, comment, flows.get(comment)))
    chains = "\n".join(_chain(chain, lines[chain]) for chain in CHAINS)
    return f"table {FAMILY} {TABLE} {{\n{chains}}}\n"


def normal(guards: Guards, flows: Mapping[str, AnyFlow]) -> Table:
    """The table that a kernel shows once it has these rules."""
    own_guards = tuple((name, normal_rule(rule)) for name, rule in sorted(guards, key=lambda one: _place(one[1])))
    own_flows = {
        name: Flow(
            tuple(sorted(map(normal_rule, flows[name].rules), key=_place)), flows[name].expires, flows[name].staged
        )
        for name in sorted(flows)
    }
    named = ((rule.chain, comment) for comment, rule in _ordered(own_guards, own_flows))
    return Table(own_guards, own_flows, sequence(named))


def endings(flow: AnyFlow) -> list[Ending]:
    """What ends the connections of a flow at its expiry, in the order of the chains; nothing where it has none."""
    if flow.expires is None:
        return []
    found = (one for rule in flow.rules if rule.verdict == "accept" for one in _ends(normal_rule(rule), flow.expires))
    return sorted(dict.fromkeys(found), key=_place)


def normal_rule[R: Rule](rule: R) -> R:
    """The rule in the form in which the kernel shows it: prefixes and ports merged, names in order."""
    return replace(
        rule,
        family=rule.family or IMPLIED.get(rule.protocol, ""),
        sources=_prefixes(rule.sources),
        destinations=_prefixes(rule.destinations),
        ports=_ports(rule.ports),
        icmp_types=tuple(sorted(rule.icmp_types)),
        states=tuple(sorted(rule.states)),
    )


def rule_line(rule: Rule) -> str:
    """The rule as a resource's input; what is odd about it comes last, so that nobody takes it for one of ours."""
    return f"{rule} raw={rule.raw}" if isinstance(rule, OddRule) else str(rule)


def rule_of(line: str) -> Rule:
    """The inverse of `rule_line`. Raises ValueError."""
    own, odd, raw = line.partition(" raw=")
    rule = Rule.parse(own)
    return OddRule(**asdict(rule), raw=raw) if odd else rule


def _chain(name: str, lines: list[str]) -> str:
    rules = "".join(f"\t\t{line}\n" for line in lines)
    return f"\tchain {name} {{\n\t\ttype filter hook {name} priority filter; policy drop;\n{rules}\t}}\n"


def _ordered(guards: Guards, flows: Mapping[str, AnyFlow]) -> Iterator[tuple[str, Rule]]:
    """All rules with their comments: the guards in their order, then the flows by name.

    What ends with a flow comes before the guard that would let it go on.
    """
    ends = [(ENDED + name, one) for name in sorted(flows) for one in endings(flows[name])]
    for name, rule in guards:
        if "established" in rule.states:
            yield from (one for one in ends if one[1].chain == rule.chain)
            ends = [one for one in ends if one[1].chain != rule.chain]
        yield GUARD + name, rule
    yield from ends
    yield from ((name, rule) for name in sorted(flows) for rule in flows[name].rules)


def _ends(rule: Rule, since: datetime) -> Iterator[Ending]:
    """For one rule: in its own direction, and in that of the answers."""
    opening = OPENING.get(rule.protocol, {})
    ports = tuple(str(opening[one]) for one in rule.icmp_types if one in opening) if rule.icmp_types else rule.ports
    if rule.icmp_types and not ports:
        return  # such messages belong to no connection
    back = BACK.get(rule.chain, rule.chain)
    for chain, iif, oif in ((rule.chain, rule.iif, rule.oif), (back, rule.oif, rule.iif)):
        whole = replace(rule, chain=chain, verdict="drop", iif=iif, oif=oif, icmp_types=(), states=())
        # One port a rule: nft 1.0.6 shows a set of them as something that it does not take back.
        for own in [replace(whole, ports=(port,)) for port in ports] or [whole]:
            yield Ending(**{one.name: getattr(own, one.name) for one in fields(Rule)}, since=since)


def _line(rule: Rule, comment: str, flow: AnyFlow | None) -> str:
    own = normal_rule(rule)
    parts = list(_of_connection(own) if isinstance(own, Ending) else _matches(own))
    # Moments as numbers: nft reads and shows dates in the zone of whoever runs it.
    if flow and flow.expires:
        parts.append(f"meta time < {int(flow.expires.timestamp())}")
    if flow and flow.staged:
        parts.append(f'log prefix "{STAGED.format(comment)}"')
    return " ".join([*parts, "counter", rule.verdict, f'comment "{comment}"'])


def _of_connection(rule: Ending) -> Iterator[str]:
    yield from _interfaces(rule)
    if rule.since:
        yield f"meta time >= {int(rule.since.timestamp())}"
    if rule.family and not (rule.sources or rule.destinations):
        yield f"meta nfproto {NFPROTO[rule.family]}"
    if rule.sources:
        yield f"ct original {rule.family} saddr {_any_of(rule.sources)}"
    if rule.destinations:
        yield f"ct original {rule.family} daddr {_any_of(rule.destinations)}"
    if rule.protocol:  # before the port: nft takes none without it
        yield f"meta l4proto {OWN_NAME.get(rule.protocol, rule.protocol)}"
    if rule.ports:
        yield f"ct original proto-dst {_any_of(rule.ports)}"


def _interfaces(rule: Rule) -> Iterator[str]:
    if rule.iif:
        yield f'iifname "{rule.iif}"'
    if rule.oif:
        yield f'oifname "{rule.oif}"'


def _matches(rule: Rule) -> Iterator[str]:
    yield from _interfaces(rule)
    if rule.family and not (rule.sources or rule.destinations or rule.protocol in IMPLIED):
        yield f"meta nfproto {NFPROTO[rule.family]}"
    if rule.sources:
        yield f"{rule.family} saddr {_any_of(rule.sources)}"
    if rule.destinations:
        yield f"{rule.family} daddr {_any_of(rule.destinations)}"
    if rule.ports:
        yield f"{rule.protocol} dport {_any_of(rule.ports)}"
    elif rule.icmp_types:
        yield f"{rule.protocol} type {_any_of(rule.icmp_types)}"
    elif rule.protocol:
        yield f"meta l4proto {OWN_NAME.get(rule.protocol, rule.protocol)}"
    if rule.states:
        yield f"ct state {','.join(rule.states)}"


def _any_of(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{{ {', '.join(values)} }}"


def _place(rule: Rule) -> int:
    return CHAINS.index(rule.chain) if rule.chain in CHAINS else len(CHAINS)


def sequence(named: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {chain: [] for chain in CHAINS}
    for (chain, name), _ in groupby(named):
        found.setdefault(chain, []).append(name)
    return found


@cache  # thousands of rules are between the same few networks, and each comes here again and again
def _prefixes(texts: tuple[str, ...]) -> tuple[str, ...]:
    networks = map(ip_network, texts)
    merged: list[Network] = list(collapse_addresses(networks))  # type: ignore[type-var]  # one family a rule
    return () if any(one.prefixlen == 0 for one in merged) else tuple(text(one) for one in merged)


def _ports(ports: Iterable[str]) -> tuple[str, ...]:
    merged: list[list[int]] = []
    for low, high in sorted(_bounds(port) for port in ports):
        if merged and low <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], high)
        else:
            merged.append([low, high])
    return tuple(str(low) if low == high else f"{low}-{high}" for low, high in merged)


def _bounds(port: str) -> tuple[int, int]:
    low, _, high = port.partition("-")
    return int(low), int(high or low)
