"""The pack, called as the engine calls it: same policies, same guarded values, no engine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pulumi_policy import EnforcementLevel, PolicyResource, StackValidationArgs
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from policies.baseline import Baseline, Waiver
from policies.pack.adapter import facts, policies
from policies.rules import Rule
from tests.pace import Pace
from tests.policies.plans import Plan, put, urn

REPO = Path(__file__).parents[2]


def resources(plan: Plan) -> list[PolicyResource]:
    made = {
        name: PolicyResource(
            one["type"], unknown_checking_proxy(one["props"]), urn(name, one["type"]), name, None, None, None, [], {}
        )
        for name, one in plan.items()
    }
    for name, one in plan.items():
        made[name].parent = made.get(one.get("parent", ""))
    return list(made.values())


def reported(
    plan: Plan, baseline: Baseline, *registry: type[Rule[Any]]
) -> list[tuple[str, EnforcementLevel, str, str]]:
    found: list[tuple[str, EnforcementLevel, str, str]] = []
    for policy in policies(baseline, registry) if registry else policies(baseline):

        def report(message: str, at: str | None = None, policy: Any = policy) -> None:
            found.append((policy.name, policy.enforcement_level, message, at or ""))

        policy.validate(StackValidationArgs(resources(plan)), report)
    return found


def test_a_clean_plan_reports_nothing(clean: Plan, baseline: Baseline) -> None:
    assert reported(clean, baseline) == []


def test_a_violation_is_mandatory_and_says_control_urn_and_fix(clean: Plan, baseline: Baseline) -> None:
    put(clean, ["qhdc.data", "level"], None)
    at = urn("qhdc.data", "qhs:network:Segment")
    message = (
        f"C-LVL-01 {at}: found no level; wanted a level from 1 to 5; "
        "fix: declare the level of qhdc.data; without one it is not let in"
    )
    assert reported(clean, baseline) == [("rules", EnforcementLevel.MANDATORY, message, at)]


def waiving(baseline: Baseline, name: str, kind: str, **fields: Any) -> Baseline:
    dates = {"granted": date(2027, 1, 1), "expires": date(2027, 2, 1)}
    said = {"control": "C-LVL-01", "owner": "vpqh-attt", "reason": "migration"}
    waiver = Waiver.model_validate({**said, **dates, "target": urn(name, kind), **fields})
    return baseline.model_copy(update={"waivers": [waiver]})


def test_a_waived_violation_is_counted_in_an_advisory(clean: Plan, baseline: Baseline) -> None:
    put(clean, ["qhdc.data", "level"], None)
    assert reported(clean, waiving(baseline, "qhdc.data", "qhs:network:Segment")) == [
        (
            "waived",
            EnforcementLevel.ADVISORY,
            "C-LVL-01: 1 of 46 waived, so not passed\n"
            f"C-LVL-01 {urn('qhdc.data', 'qhs:network:Segment')}: found no level; wanted a level from 1 to 5; "
            "waived until 01/02/2027 by vpqh-attt: migration",
            "",
        )
    ]


def test_a_waiver_of_one_flow_waives_no_other(clean: Plan, baseline: Baseline) -> None:
    for flow in ("edge-to-app", "app-to-postgres"):
        put(clean, ["qhdc-fw", "flows", flow, "owner"], "")
    by = waiving(baseline, "qhdc-fw", "qhs:network:Ruleset", control="C-NET-02", subject="flow edge-to-app")
    refused, waived = reported(clean, by)
    assert refused[0] == "rules" and "flow app-to-postgres: found no owner" in refused[2]
    assert waived[0] == "waived" and "flow edge-to-app: found no owner" in waived[2]


@pytest.mark.parametrize(
    "fields",
    [{}, {"target": urn("qhdc.gone", "qhs:network:Segment")}, {"subject": "flow x"}],
    ids=["mended", "gone", "misnamed"],
)
def test_a_waiver_that_waives_nothing_is_refused(clean: Plan, baseline: Baseline, fields: dict[str, str]) -> None:
    by = waiving(baseline, "qhdc.data", "qhs:network:Segment", **fields)
    ((name, level, message, _),) = reported(clean, by)
    assert (name, level) == ("waivers", EnforcementLevel.MANDATORY)
    assert message.startswith(f"C-LVL-01 {fields.get('target', urn('qhdc.data', 'qhs:network:Segment'))}: ")
    assert "found a waiver of vpqh-attt and no such fault; " in message


def test_a_waiver_waits_while_its_fault_is_undecided_and_while_others_stacks_are_judged(
    clean: Plan, baseline: Baseline
) -> None:
    elsewhere = "urn:pulumi:prod.ndc.network::qhs::qhs:network:Segment::ndc.data"
    assert reported(clean, waiving(baseline, "qhdc.data", "qhs:network:Segment", target=elsewhere)) == []
    put(clean, ["qhdc.data", "level"], UNKNOWN_STRING_VALUE)
    ((name, *_),) = reported(clean, waiving(baseline, "qhdc.data", "qhs:network:Segment"))
    assert name == "undecided"


def test_an_unknown_value_is_counted_in_an_advisory(clean: Plan, baseline: Baseline) -> None:
    for name in ("qhdc.data", "qhdc.soc"):
        put(clean, [name, "level"], UNKNOWN_STRING_VALUE)
    assert reported(clean, baseline) == [
        (
            "undecided",
            EnforcementLevel.ADVISORY,
            "C-LVL-01: 2 of 46 undecided, so not passed\n"
            f"C-LVL-01 {urn('qhdc.data', 'qhs:network:Segment')}: undecided, level is not known yet\n"
            f"C-LVL-01 {urn('qhdc.soc', 'qhs:network:Segment')}: undecided, level is not known yet",
            "",
        )
    ]


def test_an_unknown_value_deep_in_a_ruleset_stays_unknown(clean: Plan, baseline: Baseline) -> None:
    put(clean, ["qhdc-fw", "flows", "edge-to-app", "rules", 0, "ports", 0], UNKNOWN_STRING_VALUE)
    ((name, _, message, _), *_) = reported(clean, baseline)
    assert name == "undecided"
    assert message.endswith("flow edge-to-app, rule 1: undecided, ports is not known yet")


def test_a_pack_that_is_asked_again_judges_again(clean: Plan, baseline: Baseline) -> None:
    pack = policies(baseline)
    found: list[str] = []
    for level in (4, None, 4, None):
        put(clean, ["qhdc.data", "level"], level)
        for policy in pack:
            policy.validate(StackValidationArgs(resources(clean)), lambda message, at=None: found.append(message))
    assert len(found) == 2


def test_a_policy_alone_judges_every_time(clean: Plan, baseline: Baseline) -> None:
    level = next(policy for policy in policies(baseline) if policy.name == "rules")
    found: list[str] = []
    for value in (4, None, 4, None):
        put(clean, ["qhdc.data", "level"], value)
        level.validate(StackValidationArgs(resources(clean)), lambda message, at=None: found.append(message))
    assert len(found) == 2


def test_a_resource_that_cannot_be_read_is_refused(clean: Plan, baseline: Baseline) -> None:
    put(clean, ["qhdc.data", "ipv4"], "10.16.80.0")
    put(clean, ["qhdc.data", "ipv6"], "nowhere")
    found = [message.rpartition("::")[2] for name, _, message, _ in reported(clean, baseline) if name == "readable"]
    assert found == ["qhdc.data: ipv6: found 'nowhere'; wanted a valid IPv6 network"]


def test_a_baseline_with_a_fault_is_one_message_with_file_and_line(tmp_path: Path) -> None:
    for name in ("policies", "stacks"):
        shutil.copytree(REPO / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    controls = tmp_path / "policies" / "baseline" / "controls.yaml"
    controls.write_text(controls.read_text().replace("rules: [level]", "rules: []"))
    done = subprocess.run(
        [sys.executable, tmp_path / "policies" / "pack"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == (
        "the baseline cannot be read, so nothing is judged and nothing is let through:"
    )
    assert "policies/baseline/controls.yaml:6: found controls.C-LVL-01" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_rule_that_raises_fails_the_run_and_is_named(clean: Plan, baseline: Baseline) -> None:
    class Broken(Rule[None]):
        control, name = "C-LVL-01", "broken"

        def subjects(self, resource: Any) -> Any:
            yield "", None

        def judge(self, resource: Any, subject: None) -> Any:
            raise KeyError(resource.name)

    ((name, level, message, _),) = reported(clean, baseline, Broken)
    assert (name, level) == ("rules", EnforcementLevel.MANDATORY)
    at = urn("qhdc-cu-tri-canary", "kubernetes:apps/v1:Deployment")
    assert message == (
        f"C-LVL-01 {at}: rule broken raised KeyError: 'qhdc-cu-tri-canary'; fix the rule, nothing was judged"
    )


@pytest.mark.parametrize("count", [1000])
def test_a_thousand_resources_within_ten_seconds(clean: Plan, baseline: Baseline, count: int) -> None:
    for n in range(count - len(clean)):
        twin = "qhdc-fw" if n % 2 else "qhdc.app"
        props = dict(clean[twin]["props"])
        if twin == "qhdc.app":
            props |= {
                "zone": f"app{n}",
                "ipv4": f"10.17.{n % 256}.{n // 256 * 16}/28",
                "ipv6": f"fd51:1:0:{n + 256:x}::/64",
            }
        clean[f"more-{n:04}"] = {"type": clean[twin]["type"], "props": props, "parent": "qhdc-network"}
    assert len(facts(resources(clean)).resources) == count
    pace = Pace()
    started = time.monotonic()
    assert reported(clean, baseline) == []
    assert time.monotonic() - started < pace.limit(10)
