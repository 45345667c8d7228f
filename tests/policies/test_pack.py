"""The pack, called as the engine calls it: same policies, same guarded values, no engine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pulumi_policy import EnforcementLevel, PolicyResource, StackValidationArgs
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from policies.baseline import Baseline
from policies.pack.adapter import facts, policies
from policies.rules import Rule
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
    assert reported(clean, baseline) == [("c-lvl-01-level", EnforcementLevel.MANDATORY, message, at)]


def test_an_unknown_value_is_counted_in_an_advisory(clean: Plan, baseline: Baseline) -> None:
    for name in ("qhdc.data", "qhdc.app"):
        put(clean, [name, "level"], UNKNOWN_STRING_VALUE)
    assert reported(clean, baseline) == [
        (
            "undecided",
            EnforcementLevel.ADVISORY,
            "C-LVL-01: 2 of 9 undecided, so not passed\n"
            f"C-LVL-01 {urn('qhdc.app', 'qhs:network:Segment')}: undecided, level is not known yet\n"
            f"C-LVL-01 {urn('qhdc.data', 'qhs:network:Segment')}: undecided, level is not known yet",
            "",
        )
    ]


def test_an_unknown_value_deep_in_a_ruleset_stays_unknown(clean: Plan, baseline: Baseline) -> None:
    put(clean, ["qhdc-fw", "flows", "edge-to-app", "rules", 0, "ports", 0], UNKNOWN_STRING_VALUE)
    ((name, _, message, _),) = reported(clean, baseline)
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
    level = next(policy for policy in policies(baseline) if policy.name == "c-lvl-01-level")
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
    assert (name, level) == ("c-lvl-01-broken", EnforcementLevel.MANDATORY)
    at = urn("qhdc-fw-enforcement", "qhs:network:Enforcement")
    assert message == (
        f"C-LVL-01 {at}: rule broken raised KeyError: 'qhdc-fw-enforcement'; fix the rule, nothing was judged"
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
    started = time.monotonic()
    assert reported(clean, baseline) == []
    assert time.monotonic() - started < 10
