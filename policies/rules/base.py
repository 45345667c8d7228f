"""What a rule is: one property, pure, judged subject by subject."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from policies.baseline import Baseline, Waiver
from policies.facts import PlanFacts
from policies.known import Resource, Undecided
from policies.verdicts import Crash, Fault, Outcome, Report, Verdict


class Rule[S](ABC):
    """One property of a plan. Every subject is judged by itself, so one unknown value hides no other fault.

    A rule is made anew for each plan; what it derives from the whole plan, it derives once.
    """

    control: ClassVar[str]
    """Id in `controls.yaml`, which also holds the rule's thresholds."""
    name: ClassVar[str]

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        self.plan = plan
        self.baseline = baseline

    @abstractmethod
    def subjects(self, resource: Resource) -> Iterator[tuple[str, S]]:
        """What of a resource is judged, each with a label for the message. May raise Undecided."""

    @abstractmethod
    def judge(self, resource: Resource, subject: S) -> Iterator[Fault]:
        """Every fault of a subject; none: it passes. May raise Undecided."""


type Limits = Mapping[str, Collection[str]]
"""The limits of an environment: each name with the controls that it touches."""


def run(rules: Iterable[type[Rule[Any]]], plan: PlanFacts, baseline: Baseline, limits: Limits | None = None) -> Report:
    """Judge a plan. A rule that raises is a crash in the report, named with the resource it was judging."""
    waivers = {one.waives: one for one in baseline.waivers}
    verdicts: list[Verdict] = []
    crashes: list[Crash] = []
    for kind in rules:
        urn = "the whole plan"
        try:
            rule = kind(plan, baseline)
            for resource in plan.resources:
                urn = resource.urn
                found = (_limited(one, limits or {}) for one in _of_resource(rule, resource))
                verdicts += (_waived(one, waivers) for one in found)
        except Exception as error:
            crashes.append(Crash(kind.control, kind.name, urn, f"{type(error).__name__}: {error}"))
    return Report(tuple(verdicts), tuple(crashes))


def idle(waivers: Iterable[Waiver], plan: PlanFacts, reports: Iterable[Report]) -> Iterator[Waiver]:
    """Waivers in the plan's stack that waive nothing: the fault is mended, or was never named right."""
    verdicts = [one for report in reports for one in report.verdicts]
    used = {(one.control, one.urn, one.subject) for one in verdicts if one.outcome is Outcome.WAIVED}
    late = {(one.control, one.urn) for one in verdicts if one.outcome is Outcome.UNDECIDED}
    stacks = {one.urn.partition("::")[0] for one in plan.resources}
    for waiver in waivers:
        if waiver.stack in stacks and waiver.waives not in used and waiver.waives[:2] not in late:
            yield waiver


def _waived(verdict: Verdict, waivers: Mapping[tuple[str, str, str], Waiver]) -> Verdict:
    waiver = waivers.get((verdict.control, verdict.urn, verdict.subject))
    if waiver is None or verdict.outcome is not Outcome.VIOLATION:
        return verdict
    text = f"until {waiver.expires:%d/%m/%Y} by {waiver.owner}: {waiver.reason}"
    return replace(verdict, outcome=Outcome.WAIVED, waiver=text)


def _limited(verdict: Verdict, limits: Limits) -> Verdict:
    return replace(verdict, outcome=Outcome.LIMIT) if verdict.control in limits.get(verdict.limit, ()) else verdict


def _of_resource(rule: Rule[Any], resource: Resource) -> Iterator[Verdict]:
    try:
        for label, subject in rule.subjects(resource):
            yield from _of_subject(rule, resource, label, subject)
    except Undecided as reason:
        yield Verdict(Outcome.UNDECIDED, rule.control, resource.urn, "", str(reason))


def _of_subject(rule: Rule[Any], resource: Resource, label: str, subject: Any) -> Iterator[Verdict]:
    at = (rule.control, resource.urn, label)
    passed = True
    try:
        for fault in rule.judge(resource, subject):
            passed = False
            outcome = Outcome.WAIVED if fault.waiver else Outcome.VIOLATION
            yield Verdict(outcome, *at, fault.found, fault.wanted, fault.fix, fault.waiver, fault.limit)
    except Undecided as reason:
        passed = False
        yield Verdict(Outcome.UNDECIDED, *at, str(reason))
    if passed:
        yield Verdict(Outcome.PASS, *at)
