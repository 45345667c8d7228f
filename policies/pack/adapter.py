"""Between the engine and the rules: a stack's resources become facts, verdicts become the engine's violations.

The engine judges a stack by its outputs: a component shows what it has passed to `register_outputs`, and a
component that registers nothing is refused because it shows no level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyResource,
    ReportViolation,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from policies.baseline import Baseline
from policies.facts import UNKNOWN, PlanFacts, Raw
from policies.rules import REGISTRY, Rule, run
from policies.verdicts import Outcome, Report

SHOWN = 5
"""Undecided values named in a message; all are counted."""


def policies(baseline: Baseline, registry: Sequence[type[Rule[Any]]] = REGISTRY) -> list[Policy]:
    """One mandatory policy a rule, one for resources that cannot be read, one advisory for what is undecided."""
    return [_readable(), *(_of_rule(rule, baseline) for rule in registry), _undecided(registry, baseline)]


def facts(resources: Iterable[PolicyResource]) -> PlanFacts:
    """The facts of a stack as the engine shows it."""
    return PlanFacts.of(
        Raw(one.urn, one.resource_type, one.name, one.parent.urn if one.parent else None, _plain(one.props))
        for one in resources
    )


def _of_rule(rule: type[Rule[Any]], baseline: Baseline) -> Policy:
    control = baseline.controls[rule.control]

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        result = run([rule], facts(args.resources), baseline)
        for verdict in result.of(Outcome.VIOLATION):
            report(str(verdict), verdict.urn)
        for crash in result.crashes:
            report(str(crash), None)

    return StackValidationPolicy(
        f"{rule.control}-{rule.name}".lower(), control.requirement, validate, EnforcementLevel.MANDATORY
    )


def _readable() -> Policy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        for one in facts(args.resources).malformed:
            report(str(one), one.urn)

    return StackValidationPolicy(
        "readable", "Every resource of ours can be read, so that it can be judged", validate, EnforcementLevel.MANDATORY
    )


def _undecided(registry: Sequence[type[Rule[Any]]], baseline: Baseline) -> Policy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        plan = facts(args.resources)
        for rule in registry:
            message = undecided(run([rule], plan, baseline))
            if message:
                report(message, None)

    return StackValidationPolicy(
        "undecided",
        "What a preview does not know yet is judged again after the update",
        validate,
        EnforcementLevel.ADVISORY,
    )


def undecided(report: Report) -> str:
    """How much of a report is undecided, and the first few of it; empty where all is decided."""
    found = report.of(Outcome.UNDECIDED)
    if not found:
        return ""
    lines = [
        f"{found[0].control}: {len(found)} of {len(report.verdicts)} undecided, so not passed",
        *map(str, found[:SHOWN]),
    ]
    if len(found) > SHOWN:
        lines.append(f"and {len(found) - SHOWN} more")
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """The engine's guarded values as plain ones, with UNKNOWN for what it cannot know yet."""
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_item(value, index) for index in range(len(value))]
    return value


def _item(container: Any, key: Any) -> Any:
    try:
        return _plain(container[key])
    except UnknownValueError:
        return UNKNOWN
