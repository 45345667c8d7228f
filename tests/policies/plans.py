"""A clean plan, one change to it, and what the rules say about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from policies.facts import PlanFacts, Raw

HERE = Path(__file__).parent
PREFIX = "urn:pulumi:twin.qhdc.network::qhs::"

type Plan = dict[str, Any]


def read_clean() -> Plan:
    """A fresh copy of the clean plan."""
    # Through JSON, so that what one anchor gives to several resources is a copy for each.
    plan: Plan = json.loads(json.dumps(yaml.safe_load((HERE / "clean.yaml").read_text())))
    for one in plan.values():
        one["props"] = {name: _shown(value) for name, value in one["props"].items()}
    return plan


def _shown(value: Any) -> Any:
    return certificate(value[1:]) if isinstance(value, str) and value.startswith("@") else value


def urn(name: str, kind: str) -> str:
    return f"{PREFIX}{kind}::{name}"


def certificate(name: str) -> str:
    """One of tests/policies/certificates; a plan names it by `@` and its file."""
    return (HERE / "certificates" / name).read_text()


def put(plan: Plan, at: list[Any], value: Any) -> None:
    """Set one value of a plan: `at` is a resource and the path in its properties; no path: the whole resource."""
    value = _shown(value)
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


def said(verdicts: Any) -> list[str]:
    """Verdicts as text, with names for URNs."""
    return [str(one).replace(one.urn, one.urn.rpartition("::")[2]) for one in verdicts]


def cases() -> dict[str, list[dict[str, Any]]]:
    """The violating cases of each control."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted((HERE / "cases").glob("*.yaml"))}
