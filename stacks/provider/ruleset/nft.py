"""Rulesets as nftables text, and the form in which a kernel shows them.

`listing.parse(kernel(render(x)))` is `normal(x)`: nft itself merges prefixes and ports that touch, so both sides
are compared in that one form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from ipaddress import collapse_addresses, ip_network
from itertools import groupby
from typing import Protocol

from stacks.model.addresses import Network, text
from stacks.model.rules import Rule

FAMILY, TABLE = "inet", "qhs"
CHAINS = ("input", "forward", "output")
GUARD = "guard:"

STAGED = "qhs-staged:{} "
NFPROTO = {"ip": "ipv4", "ip6": "ipv6"}
IMPLIED = {"icmp": "ip", "icmpv6": "ip6"}
OWN_NAME = {"icmpv6": "ipv6-icmp"}  # what nft calls the protocol where it is not an expression of its own

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
    """The ruleset as text for `nft -f`: the guards in their order, then the flows by name. Needs no clock."""
    lines: dict[str, list[str]] = {chain: [] for chain in CHAINS}
    for name, rule in guards:
        lines[rule.chain].append(_line(rule, GUARD + name))
    for name in sorted(flows):
        flow = flows[name]
        for rule in flow.rules:
            lines[rule.chain].append(_line(rule, name, flow.expires, flow.staged))
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
    named = [(rule.chain, GUARD + name) for name, rule in own_guards]
    named += [(rule.chain, name) for name, flow in own_flows.items() for rule in flow.rules]
    return Table(own_guards, own_flows, sequence(named))


def normal_rule(rule: Rule) -> Rule:
    """The rule in the form in which the kernel shows it: prefixes and ports merged, names in order."""
    return replace(
        rule,
        family=rule.family or IMPLIED.get(rule.protocol, ""),
        sources=_prefixes(map(ip_network, rule.sources)),
        destinations=_prefixes(map(ip_network, rule.destinations)),
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


def _line(rule: Rule, comment: str, expires: datetime | None = None, staged: bool = False) -> str:
    parts = list(_matches(normal_rule(rule)))
    if expires:
        # As a number: nft reads and shows dates in the zone of whoever runs it.
        parts.append(f"meta time < {int(expires.timestamp())}")
    if staged:
        parts.append(f'log prefix "{STAGED.format(comment)}"')
    return " ".join([*parts, "counter", rule.verdict, f'comment "{comment}"'])


def _matches(rule: Rule) -> Iterator[str]:
    if rule.iif:
        yield f'iifname "{rule.iif}"'
    if rule.oif:
        yield f'oifname "{rule.oif}"'
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


def _prefixes(networks: Iterable[Network]) -> tuple[str, ...]:
    merged = list(collapse_addresses(networks))  # type: ignore[type-var]  # one family a rule
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
