"""The genuine engine runs the policy pack on every preview and up: a violation ends it, an unknown value is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from qhs.engine import Engine, EngineError, ensure_stack, heard, prepare, run_pulumi
from tests.policies.plans import Plan, read_clean

STACK = "twin.qhdc.network"
URN = f"urn:pulumi:{STACK}::fixture::"
PROJECT = "name: fixture\nruntime: python\n"
# The values of the clean plan as components that register them: what a stack policy sees are a resource's outputs.
PROGRAM = """\
import json
import pathlib
import pulumi

made = {}
for name, one in json.loads(pathlib.Path("plan.json").read_text()).items():
    parent = made.get(one.get("parent"))
    made[name] = pulumi.ComponentResource(one["type"], name, {}, pulumi.ResourceOptions(parent=parent))
    made[name].register_outputs(one.get("outputs", one["props"]))
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return prepare(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture
def plan() -> Plan:
    """But for certificates: the baseline knows none of the State's authority yet."""
    return {name: one for name, one in read_clean().items() if one["type"] != "qhs:signing:Certificate"}


def run(engine: Engine, project: Path, plan: Plan, program: str = PROGRAM, *command: str) -> str:
    """Everything the engine says; raises EngineError where it refuses."""
    (project / "Pulumi.yaml").write_text(PROJECT)
    (project / "__main__.py").write_text(program)
    (project / "plan.json").write_text(json.dumps(plan))
    ensure_stack(engine, STACK, project)
    return run_pulumi(engine, list(command or ["preview"]), stack=STACK, cwd=project)


def test_a_clean_program_passes(engine: Engine, project: Path, plan: Plan) -> None:
    said = run(engine, project, plan)
    assert re.search(r"✅ *baseline@v1\.0\.0", said), said


@pytest.mark.parametrize("command", [("preview",), ("up", "--yes")], ids=lambda command: command[0])
def test_every_violation_ends_preview_and_up(
    engine: Engine, project: Path, plan: Plan, command: tuple[str, ...]
) -> None:
    plan["qhdc.data"]["props"]["level"] = 6
    plan["qhdc-fw"]["props"]["flows"]["internet-to-edge"]["destinations"] = ["qhdc.data"]
    with pytest.raises(EngineError) as refusal:
        run(engine, project, plan, PROGRAM, *command)
    data = f"{URN}qhs:network:Site$qhs:network:Segment::qhdc.data"
    firewall = f"{URN}qhs:network:Site$qhs:network:Enforcement$qhs:network:Ruleset::qhdc-fw"
    for message in (
        f"C-LVL-01 {data}: found level 6; wanted a level from 1 to 5; fix: declare the level of qhdc.data; ",
        f"C-NET-03 {firewall}: flow internet-to-edge: found a way in: internet -> qhdc.data (flows internet-to-edge); ",
    ):
        assert message in refusal.value.output


def test_a_component_that_registers_nothing_is_refused(engine: Engine, project: Path, plan: Plan) -> None:
    plan["qhdc.app"]["outputs"] = {}
    with pytest.raises(EngineError, match=r"::qhdc\.app: kind: found nothing; wanted a value"):
        run(engine, project, plan)


# A level that only the update knows, as the answer of a provider would be.
LATE = """\
import asyncio

def late(value):
    loop = asyncio.get_event_loop()
    answer, there = loop.create_future(), loop.create_future()
    answer.set_result(value)
    there.set_result(not pulumi.runtime.is_dry_run())
    return pulumi.Output(set(), answer, there)

made["qhdc.late"] = pulumi.ComponentResource("qhs:network:Enforcement", "qhdc.late", {})
made["qhdc.late"].register_outputs({"level": late(LEVEL), "owner": "a", "serves": ["S-005"], "target": "late"})
"""


def ours(plan: Plan) -> list[Any]:
    """What has a level of its own: what a cluster is told to hold has that of its application."""
    return [one for one in plan.values() if one["type"].startswith("qhs:")]


def test_a_value_that_only_the_update_knows_is_told_and_then_judged(engine: Engine, project: Path, plan: Plan) -> None:
    said = run(engine, project, plan, PROGRAM + LATE.replace("LEVEL", "4"))
    assert f"C-LVL-01: 1 of {len(ours(plan)) + 1} undecided, so not passed" in said
    assert f"{URN}qhs:network:Enforcement::qhdc.late: undecided, level is not known yet" in said
    with pytest.raises(EngineError, match=r"qhdc\.late: found level 7; wanted a level from 1 to 5"):
        run(engine, project, plan, PROGRAM + LATE.replace("LEVEL", "7"), "up", "--yes")


def test_an_update_is_heard_at_its_end_with_its_warnings(engine: Engine, project: Path, plan: Plan) -> None:
    program = PROGRAM + LATE.replace("LEVEL", "4") + 'pulumi.log.warn("flow x expires")\n'
    preview = heard(run(engine, project, plan, program))
    assert (preview.judged, preview.undecided, preview.refused) == (True, True, False)
    update = heard(run(engine, project, plan, program, "up", "--yes"))
    assert (update.judged, update.undecided, update.refused) == (True, False, False)
    assert update.texts == ["flow x expires"]
    nothing_new = heard(run(engine, project, plan, program, "up", "--yes"))
    assert (nothing_new.judged, nothing_new.texts) == (True, ["flow x expires"])


def test_a_run_without_the_pack_is_not_taken_for_judged(project: Path, plan: Plan, tmp_path: Path) -> None:
    said = heard(run(prepare(tmp_path / "state", policy_pack=None), project, plan))
    assert (said.judged, said.texts) == (False, [])


def test_every_violation_of_many_is_heard(engine: Engine, project: Path, plan: Plan) -> None:
    for one in ours(plan):
        one["props"]["level"] = 6
    with pytest.raises(EngineError) as refusal:
        run(engine, project, plan)
    said = heard(refusal.value.said)
    assert said.refused
    assert len([text for text in said.texts if text.startswith("C-LVL-01 ")]) == len(ours(plan))
