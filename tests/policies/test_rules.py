"""Each rule: a clean plan passes; every one of its messages is said, to the letter, for one change to that plan."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from policies.known import UNKNOWN
from policies.rules import REGISTRY, Rule, run
from policies.verdicts import Crash, Outcome
from tests.policies.messages import messages
from tests.policies.plans import Plan, cases, facts, put, said


def test_the_clean_plan_passes_every_rule(clean: Plan, judge: Any) -> None:
    report = judge(clean)
    assert said(report.verdicts if not report.clean else ()) == []
    assert {one.control for one in report.of(Outcome.PASS)} == {rule.control for rule in REGISTRY}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{control}-{n}") for control, found in cases().items() for n, case in enumerate(found)],
)
def test_a_change_is_found_by_one_rule_with_its_message(clean: Plan, judge: Any, case: dict[str, Any]) -> None:
    put(clean, case["at"], case["put"])
    report = judge(clean)
    found = said(report.of(Outcome.VIOLATION))
    assert report.crashes == ()
    assert found == (case["says"] if isinstance(case["says"], list) else [case["says"]])


@pytest.mark.parametrize("rule", REGISTRY, ids=lambda rule: rule.control)
def test_every_message_of_a_rules_module_has_a_case(
    rule: type[Rule[Any]], clean: Plan, judge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with messages(rule, monkeypatch) as (wanted, found):
        controls = {one.control for one in REGISTRY if one.__module__ == rule.__module__}
        for case in (case for control in sorted(controls) for case in cases()[control]):
            plan = copy.deepcopy(clean)
            put(plan, case["at"], case["put"])
            judge(plan)
    assert found == wanted


UNDECIDED = [
    (["qhdc.data", "level"], ["C-LVL-01 qhdc.data: undecided, level is not known yet"]),
    (["qhdc.data", "serves"], ["C-TRACE-01 qhdc.data: undecided, serves is not known yet"]),
    (["qhdc.data", "serves", 0], ["C-TRACE-01 qhdc.data: undecided, serves is not known yet"]),
    (
        ["qhdc.data", "ipv4"],
        ["C-NET-16 qhdc.data: segment qhdc.data ipv4: undecided, segment qhdc.data ipv4 is not known yet"],
    ),
    (
        ["qhdc-fw", "flows", "edge-to-app", "rules", 0, "sources"],
        ["C-NET-02 qhdc-fw: flow edge-to-app, rule 1: undecided, sources is not known yet"],
    ),
    (
        ["qhdc-fw", "flows", "edge-to-app", "rules", 0, "ports"],
        [
            "C-NET-02 qhdc-fw: flow edge-to-app, rule 1: undecided, ports is not known yet",
            "C-NET-04 qhdc-fw: flow edge-to-app, rule 1: undecided, ports is not known yet",
        ],
    ),
    (
        ["qhdc-fw", "flows", "internet-to-edge", "breaks"],
        ["C-NET-03 qhdc-fw: flow internet-to-edge: undecided, breaks is not known yet"],
    ),
    (
        ["qhdc-fw", "flows"],
        [
            f"{control} qhdc-fw: undecided, flows is not known yet"
            for control in ("C-TRACE-01", "C-NET-02", "C-NET-03", "C-NET-04", "C-NET-08", "C-NET-09", "C-NET-15")
        ],
    ),
]


@pytest.mark.parametrize(("at", "says"), UNDECIDED, ids=[".".join(map(str, at)) for at, _ in UNDECIDED])
def test_an_unknown_value_is_undecided_never_passed(clean: Plan, judge: Any, at: list[Any], says: list[str]) -> None:
    put(clean, at, UNKNOWN)
    report = judge(clean)
    assert report.of(Outcome.VIOLATION) == ()
    assert said(report.of(Outcome.UNDECIDED)) == says
    assert not report.clean


def test_an_unknown_value_hides_no_other_fault(clean: Plan, judge: Any) -> None:
    put(clean, ["qhdc-fw", "flows", "edge-to-app", "rules", 0, "sources"], UNKNOWN)
    put(clean, ["qhdc-fw", "flows", "app-to-postgres", "rules", 0, "ports"], [])
    assert [one.subject for one in judge(clean).of(Outcome.VIOLATION)] == ["flow app-to-postgres, rule 1"]


def test_a_rule_that_raises_is_named_with_its_resource(clean: Plan, baseline: Any) -> None:
    class Broken(Rule[None]):
        control, name = "C-LVL-01", "broken"

        def subjects(self, resource: Any) -> Any:
            yield "", None

        def judge(self, resource: Any, subject: None) -> Any:
            yield from [] if resource.name != "qhdc.data" else [1 / 0]

    report = run([Broken], facts(clean), baseline)
    urn = "urn:pulumi:twin.qhdc.network::qhs::qhs:network:Segment::qhdc.data"
    assert report.crashes == (Crash("C-LVL-01", "broken", urn, "ZeroDivisionError: division by zero"),)
    assert not report.clean


def test_a_malformed_resource_is_named_with_its_field(clean: Plan) -> None:
    put(clean, ["qhdc.data", "level"], "high")
    put(clean, ["qhdc-fw", "flows", "edge-to-app", "rules", 0, "ports"], "443")
    assert [str(one).rpartition("::")[2] for one in facts(clean).malformed] == [
        "qhdc-fw: flows.edge-to-app.rules.0.ports: found '443'; wanted a valid tuple",
        "qhdc.data: level: found 'high'; wanted a valid integer, unable to parse string as an integer",
    ]


def test_findings_are_the_same_in_every_order_of_resources(clean: Plan, judge: Any) -> None:
    put(clean, ["qhdc.data", "ipv4"], "10.16.64.0/20")
    backwards = dict(reversed(clean.items()))
    assert judge(clean) == judge(backwards)
