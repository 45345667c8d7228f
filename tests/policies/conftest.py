"""A clean plan, one change to it, and what the rules say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.baseline import Baseline, load
from policies.facts import PlanFacts, Raw
from policies.rules import REGISTRY, run
from policies.verdicts import Report

HERE = Path(__file__).parent
PREFIX = "urn:pulumi:twin.qhdc.network::qhs::"

type Plan = dict[str, Any]


@pytest.fixture(scope="session")
def baseline() -> Baseline:
    return load()


@pytest.fixture
def clean() -> Plan:
    # Through JSON, so that what one anchor gives to several resources is a copy for each.
    plan: Plan = json.loads(json.dumps(yaml.safe_load((HERE / "clean.yaml").read_text())))
    return plan


def urn(name: str, kind: str) -> str:
    return f"{PREFIX}{kind}::{name}"


def put(plan: Plan, at: list[Any], value: Any) -> None:
    """Set one value of a plan: `at` is a resource and the path in its properties; no path: the whole resource."""
    if len(at) == 1:
        plan[at[0]] = value
        return
    node = plan[at[0]]["props"]
    for key in at[1:-1]:
        node = node[key]
    if isinstance(node, list) and at[-1] == len(node):
        node.append(value)
    else:
        node[at[-1]] = value


def facts(plan: Plan) -> PlanFacts:
    def parent(one: dict[str, Any]) -> str | None:
        name = one.get("parent")
        return urn(name, plan[name]["type"]) if name else None

    return PlanFacts.of(
        Raw(urn(name, one["type"]), one["type"], name, parent(one), one["props"]) for name, one in plan.items()
    )


@pytest.fixture
def judge(baseline: Baseline) -> Callable[..., Report]:
    """Judge a plan by the whole registry: a case must be found by one rule and by no other."""

    def _judge(plan: Plan, by: Baseline = baseline) -> Report:
        found = facts(plan)
        assert found.malformed == ()
        return run(REGISTRY, found, by)

    return _judge


def said(verdicts: Any) -> list[str]:
    """Verdicts as text, with names for URNs."""
    return [str(one).replace(one.urn, one.urn.rpartition("::")[2]) for one in verdicts]


def cases() -> dict[str, list[dict[str, Any]]]:
    """The violating cases of each control."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted((HERE / "cases").glob("*.yaml"))}
