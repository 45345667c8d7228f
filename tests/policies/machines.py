"""Machines that have answered the probe, one change to an answer, and what the rules say about it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from policies.facts import PlanFacts
from policies.live.answers import told
from policies.live.facts import Host, urn

HERE = Path(__file__).parent / "live"
JUDGED = "qhdc-app1"
MACHINES = {
    JUDGED: ("qhdc", "10.16.64.60"),
    "qhdc-infra1": ("qhdc", "10.17.48.18"),
    "ndc-infra1": ("ndc", "10.21.48.18"),
    "hall-infra1": ("hall", "10.25.48.18"),
}

type Answers = dict[str, Any]


def read_clean() -> Answers:
    """A fresh copy of the answers of a machine that every rule passes."""
    answers: Answers = yaml.safe_load((HERE / "clean.yaml").read_text())
    return answers


def host(name: str = JUDGED) -> Host:
    """A machine that has not been asked yet."""
    site, address = MACHINES[name]
    return Host.model_validate(
        {"urn": urn("twin", name), "name": name, "site": site, "level": 4, "addresses": [address]}
    )


def change(answers: Answers, case: dict[str, Any]) -> Answers:
    """The answers with one of them changed: to `put`, or with the first text of `swap` by the second."""
    fresh: Answers = json.loads(json.dumps(answers))
    *path, last = case["at"]
    node = fresh
    for key in path:
        node = node[key]
    if "swap" in case:
        old, new = case["swap"]
        assert old in node[last], f"{case['at']}: no {old!r}"
        node[last] = node[last].replace(old, new)
    else:
        node[last] = case["put"]
    return fresh


def facts(answers: Answers) -> PlanFacts:
    """All machines: one with these answers, the others with clean ones."""
    return PlanFacts((told(host(), answers)[0], *_others()))


@cache
def _others() -> tuple[Host, ...]:
    return tuple(told(host(name), read_clean())[0] for name in MACHINES if name != JUDGED)


def cases() -> dict[str, list[dict[str, Any]]]:
    """The violating cases of each control."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(HERE.glob("C-*.yaml"))}
