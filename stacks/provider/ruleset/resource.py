"""The resource `qhs:network:Ruleset`, as stacks declare it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NotRequired, TypedDict, Unpack

import pulumi

from stacks.model import rules
from stacks.model.catalogue import Flow
from stacks.provider.ruleset.nft import rule_line


class GuardInput(TypedDict):
    """A rule that holds whatever the flows are."""

    name: str
    rule: str
    """Its line, as `stacks.model.rules.Rule` writes it."""


class FlowInput(TypedDict):
    """The rules of one flow, and what a reviewer must see beside them."""

    owner: str
    serves: list[str]
    review: str
    """The date on which the owner must confirm it."""
    expires: NotRequired[str]
    """With its time zone: from then on the kernel blocks it."""
    staged: bool
    breaks: bool
    sources: list[str]
    destinations: list[str]
    """Names of places."""
    rules: list[str]
    """Their lines, as `stacks.model.rules.Rule` writes them: a changed rule is one changed line of a plan."""


class DegradedInput(TypedDict):
    """Until when the ruleset may be written although a member does not answer, and why."""

    until: str
    reason: str


class RulesetInputs(TypedDict):
    """Everything that a Ruleset takes."""

    target: str
    site: str
    kind: str
    members: list[str]
    owner: str
    level: int
    serves: list[str]
    guards: list[GuardInput]
    flows: dict[str, FlowInput]
    degraded: NotRequired[DegradedInput]


class Ruleset(pulumi.CustomResource):
    """What one firewall pair or one machine enforces. Its id is `<site>/<target>`."""

    TYPE: ClassVar[str] = "qhs:network:Ruleset"

    sequence: pulumi.Output[dict[str, list[str]]]
    """For each chain the names of its rules in their order."""
    foreign: pulumi.Output[list[str]]
    """What is in the table and not of ours: nothing, unless somebody put it there by hand."""
    confirmed: pulumi.Output[str]
    """SHA-256 of the ruleset that a boot loads."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[RulesetInputs]) -> None:
        outputs = {"sequence": None, "foreign": None, "confirmed": None}
        # Replaced under its own key (tainted, `--target-replace`) and deleted last, it would take its successor along.
        # Such a replacement does not ask the provider, so the program says it.
        first = pulumi.ResourceOptions(delete_before_replace=True)
        super().__init__(self.TYPE, name, {**inputs, **outputs}, pulumi.ResourceOptions.merge(first, opts))


def ruleset_inputs(
    ruleset: rules.Ruleset, flows: Mapping[str, Flow], *, owner: str, level: int, serves: Sequence[str]
) -> RulesetInputs:
    """The inputs of a derived ruleset; `flows` is the catalogue's, which knows when each is to be reviewed."""
    found: RulesetInputs = {
        "target": ruleset.target,
        "site": ruleset.site,
        "kind": ruleset.kind,
        "members": list(ruleset.members),
        "owner": owner,
        "level": level,
        "serves": list(serves),
        "guards": [{"name": name, "rule": rule_line(rule)} for name, rule in ruleset.guards],
        "flows": {name: _flow(one, flows[name]) for name, one in ruleset.flows.items()},
    }
    if ruleset.degraded:
        found["degraded"] = {"until": ruleset.degraded.until.isoformat(), "reason": ruleset.degraded.reason}
    return found


def _flow(rules_of: rules.FlowRules, flow: Flow) -> FlowInput:
    found: FlowInput = {
        "owner": rules_of.owner,
        "serves": list(rules_of.serves),
        "review": flow.review.isoformat(),
        "staged": rules_of.staged,
        "breaks": rules_of.breaks,
        "sources": list(rules_of.sources),
        "destinations": list(rules_of.destinations),
        "rules": [rule_line(one) for one in rules_of.rules],
    }
    if rules_of.expires:
        found["expires"] = rules_of.expires.isoformat()
    return found
