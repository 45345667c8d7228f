"""The inputs of a Ruleset: what each may be, and their normal form. No network, no Pulumi."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date
from functools import cache
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from stacks.model.inventory import Degraded
from stacks.model.rules import Rule
from stacks.provider.inputs import Input
from stacks.provider.ruleset.nft import Flow, Table, normal, render, rule_line

# A name is a comment of nft (128 bytes) and, with `qhs-staged:` before it, a prefix of its log (127 bytes).
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=100)]
Interface = Annotated[str, Field(pattern=r"^[\w.-]*$", max_length=15)]
Port = Annotated[str, Field(pattern=r"^\d{1,5}(-\d{1,5})?$")]
Word = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]

PORTED = ("tcp", "udp", "sctp")
VERSIONS = {"ip": 4, "ip6": 6}
HIGHEST_PORT = 65535


# The same lines and prefixes come again and again: in a check, in what follows from it, at the next machine.
_parsed = cache(Rule.parse)


@cache
def _version(prefix: str) -> int:
    return ip_network(prefix).version


class RuleSpec(Input):
    """One rule of a chain; it stands in the inputs as its line (`Rule.parse`)."""

    chain: Literal["input", "forward", "output"]
    verdict: Literal["accept", "drop"] = "accept"
    iif: Interface = ""
    oif: Interface = ""
    family: Literal["", "ip", "ip6"] = ""
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    protocol: Annotated[str, Field(pattern=r"^[a-z0-9-]*$")] = ""
    ports: tuple[Port, ...] = ()
    icmp_types: tuple[Word, ...] = ()
    states: tuple[Word, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_line(cls, line: Any) -> Any:
        return dict(vars(_parsed(line))) if isinstance(line, str) else line

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for prefix in (*self.sources, *self.destinations):
            if _version(prefix) != VERSIONS.get(self.family):
                raise ValueError(f"{prefix} is not of the rule's family {self.family!r}")
        if self.ports and self.protocol not in PORTED:
            raise ValueError(f"{self.protocol or 'no protocol'} has no ports; wanted one of {', '.join(PORTED)}")
        if self.icmp_types and self.protocol not in ("icmp", "icmpv6"):
            raise ValueError(f"{self.protocol or 'no protocol'} has no ICMP types; wanted icmp or icmpv6")
        for port in self.ports:
            low, _, high = port.partition("-")
            if not 0 < int(low) <= int(high or low) <= HIGHEST_PORT:
                raise ValueError(f"{port} is no port; wanted 1 to {HIGHEST_PORT}, low-high")
        return self

    def rule(self) -> Rule:
        """As nft's renderer takes it."""
        return Rule(**dict(self))


class GuardSpec(Input):
    """A rule that holds whatever the flows are."""

    name: Name
    rule: RuleSpec


class FlowSpec(Input):
    """The rules of one flow, and what a reviewer must see beside them."""

    owner: str
    serves: list[str]
    review: date
    expires: AwareDatetime | None = None
    staged: bool = False
    breaks: bool = False
    sources: list[str]
    destinations: list[str]
    rules: Annotated[list[RuleSpec], Field(min_length=1)]

    def flow(self) -> Flow:
        """As nft's renderer takes it; what a kernel enforces has whole seconds."""
        expires = self.expires and self.expires.astimezone(UTC).replace(microsecond=0)
        return Flow(tuple(one.rule() for one in self.rules), expires, self.staged)


class RulesetSpec(Input):
    """A ruleset of a firewall pair or of a machine."""

    target: Name
    site: Name
    kind: Literal["pair", "machine"]
    members: Annotated[list[Name], Field(min_length=1)]
    owner: str
    level: int
    serves: list[str]
    guards: list[GuardSpec]
    flows: dict[Name, FlowSpec]
    degraded: Degraded | None = None

    def table(self) -> Table:
        """What a kernel shows once it is applied."""
        return normal(
            [(one.name, one.rule.rule()) for one in self.guards], {n: one.flow() for n, one in self.flows.items()}
        )


def shown(table: Table, described: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that a table stands for; what no kernel knows is taken from those that described it."""
    flows = {name: _flow(flow, described["flows"].get(name, {})) for name, flow in table.flows.items()}
    guards = [{"name": name, "rule": rule_line(rule)} for name, rule in table.guards]
    return {**described, "guards": guards, "flows": flows}


def text(table: Table, resource: str | None) -> str:
    """The ruleset for nft. It begins with the resource that it is of, so that no other takes it away."""
    return (f"# {resource}\n" if resource else "") + render(table.guards, table.flows)


def _flow(flow: Flow, described: Mapping[str, Any]) -> dict[str, Any]:
    own = {"rules": [rule_line(rule) for rule in flow.rules], "staged": flow.staged}
    kept = {key: value for key, value in described.items() if key != "expires"}
    return {**kept, **own, **({"expires": flow.expires.isoformat()} if flow.expires else {})}
