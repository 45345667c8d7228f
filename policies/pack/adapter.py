"""Between the engine and the rules: a stack's resources become facts, verdicts become the engine's violations.

The engine judges a stack by its outputs: a component shows what it has passed to `register_outputs`, and a
component that registers nothing is refused because it cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyResource,
    ReportViolation,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from policies.baseline import Baseline, Waiver
from policies.facts import PlanFacts, Raw
from policies.known import UNKNOWN
from policies.rules import REGISTRY, Rule, idle, run
from policies.verdicts import Outcome, Report

READABLE, RULES, WAIVERS = "readable", "rules", "waivers"
ADVISORY: Final = {
    Outcome.WAIVED: "What is waived is a fault that somebody answers for",
    Outcome.UNDECIDED: "What a preview does not know yet is judged again after the update",
}

SHOWN = 5
"""Verdicts named in the message of an advisory; all are counted."""


def policies(baseline: Baseline, registry: Sequence[type[Rule[Any]]] = REGISTRY) -> list[Policy]:
    """Mandatory ones for what rules find, for resources that cannot be read, for waivers that waive nothing.

    Two are advisory: what is waived, and what is undecided. All rules are one policy, as the engine's SDK unpacks the
    whole stack anew for each.
    """
    judge = Judge([READABLE, RULES, WAIVERS, *ADVISORY], registry, baseline)
    return [
        _policy(READABLE, "Every resource of ours can be read, so that it can be judged", judge, _malformed),
        _policy(RULES, "Every rule of the baseline holds", judge, _violations),
        _policy(WAIVERS, "A waiver waives a fault", judge, _idle),
        *(
            _policy(outcome, description, judge, _advisory(outcome), EnforcementLevel.ADVISORY)
            for outcome, description in ADVISORY.items()
        ),
    ]


@dataclass(frozen=True)
class Judged:
    """A stack and what each rule says about it."""

    urns: tuple[str, ...]
    plan: PlanFacts
    reports: dict[type[Rule[Any]], Report]
    idle: tuple[Waiver, ...]


class Judge:
    """Judges a stack once for all policies of the pack, which the engine asks about it one after the other.

    An answer is given out once: the first policy that is asked again is asked about another stack.
    """

    def __init__(self, names: Sequence[str], registry: Sequence[type[Rule[Any]]], baseline: Baseline) -> None:
        self._names, self._registry, self._baseline = names, registry, baseline
        self._left: dict[str, Judged] = {}

    def answer(self, name: str, resources: Sequence[PolicyResource]) -> Judged:
        """What is to be told to the policy `name`."""
        judged = self._left.pop(name, None)
        urns = tuple(one.urn for one in resources)
        if judged is None or judged.urns != urns:
            plan = facts(resources)
            reports = {rule: run([rule], plan, self._baseline, plan.limits) for rule in self._registry}
            unused = tuple(idle(self._baseline.waivers, plan, reports.values()))
            judged = Judged(urns, plan, reports, unused)
            self._left = {other: judged for other in self._names if other != name}
        return judged


def facts(resources: Iterable[PolicyResource]) -> PlanFacts:
    """The facts of a stack as the engine shows it."""
    return PlanFacts.of(
        Raw(one.urn, one.resource_type, one.name, one.parent.urn if one.parent else None, _plain(one.props))
        for one in resources
    )


type Said = Iterator[tuple[str, str | None]]
"""Messages, each with the URN that it is about; None: the whole stack."""


def _policy(
    name: str,
    description: str,
    judge: Judge,
    said: Callable[[Judged], Said],
    level: EnforcementLevel = EnforcementLevel.MANDATORY,
) -> Policy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        for message, urn in said(judge.answer(name, args.resources)):
            report(message, urn)

    return StackValidationPolicy(name, description, validate, level)


def _malformed(judged: Judged) -> Said:
    for one in judged.plan.malformed:
        yield str(one), one.urn


def _violations(judged: Judged) -> Said:
    for report in judged.reports.values():
        for verdict in report.of(Outcome.VIOLATION):
            yield str(verdict), verdict.urn
        for crash in report.crashes:
            yield str(crash), None


def _idle(judged: Judged) -> Said:
    for one in judged.idle:
        about = f"{one.subject}: " if one.subject else ""
        found = f"{one.control} {one.target}: {about}found a waiver of {one.owner} and no such fault"
        yield f"{found}; wanted only waivers that waive one; fix: take it out of policies/baseline/waivers.yaml", None


def _advisory(outcome: Outcome) -> Callable[[Judged], Said]:
    def said(judged: Judged) -> Said:
        for report in judged.reports.values():
            if message := counted(report, outcome):
                yield message, None

    return said


def counted(report: Report, outcome: Outcome) -> str:
    """How much of a report has an outcome that is no pass, and the first few of it; empty where nothing has."""
    found = report.of(outcome)
    if not found:
        return ""
    lines = [
        f"{found[0].control}: {len(found)} of {len(report.verdicts)} {outcome}, so not passed",
        *map(str, found[:SHOWN]),
    ]
    if len(found) > SHOWN:
        lines.append(f"and {len(found) - SHOWN} more")
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """The engine's guarded values as plain ones, with UNKNOWN for what it cannot know yet."""
    if isinstance(value, str | float | bool):
        return value
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence):
        return [_item(value, index) for index in range(len(value))]
    return value


def _item(container: Any, key: Any) -> Any:
    try:
        return _plain(container[key])
    except UnknownValueError:
        return UNKNOWN
