"""Machines that have answered the probe, one change to an answer, and what the rules say about it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.live.answers import told
from policies.live.facts import Host, urn
from policies.rules import LIVE, run
from policies.verdicts import Outcome
from tests.policies.plans import said

HERE = Path(__file__).parent / "live"
JUDGED = "qhdc-app1"
EVERYTHING = {
    "public": True,
    "firewall": True,
    "hsm_host": True,
    "controls": True,
    "node": True,
    "time_stamps_of": "time-stamp.qhdc.qhs.internal",
    "tunnels_wanted": ["own-ndc-carrier-a", "own-ndc-carrier-b"],
    "may_lack_s": {"databases": 300, "objects": 60},
    "needs": {"qhs_time_sources": ["qhdc", "ndc"], "wan_peers": ["hall", "ndc"]},
}
FLAGS = ("takes_files", "public", "firewall", "hsm_host", "controls", "node")
NOTHING = {
    "services": [],
    "tunnels_wanted": [],
    "time_stamps_of": "",
    "may_lack_s": {},
    "needs": {},
    **dict.fromkeys(FLAGS, False),
}
MACHINES: dict[str, dict[str, Any]] = {
    JUDGED: {"site": "qhdc", "level": 4, "addresses": ["10.16.64.60"], "takes_files": True, **EVERYTHING},
    "qhdc-infra1": {"site": "qhdc", "level": 4, "addresses": ["10.17.48.190", "10.17.48.18"]},
    "ndc-infra1": {"site": "ndc", "level": 3, "addresses": ["10.21.48.190", "10.21.48.18"]},
    "hall-infra1": {"site": "hall", "level": 2, "addresses": ["10.25.48.190", "10.25.48.18"]},
    "qhdc-soc1": {"site": "qhdc", "level": 4, "addresses": ["10.16.144.170", "10.16.144.19"], "services": ["logs"]},
    "ndc-soc1": {"site": "ndc", "level": 4, "addresses": ["10.20.144.170", "10.20.144.19"], "services": ["logs"]},
}

type Answers = dict[str, Any]


def read_clean(name: str = JUDGED) -> Answers:
    """A fresh copy of the answers of a machine that every rule passes."""
    answers: Answers = yaml.safe_load((HERE / "clean.yaml").read_text())
    stores: dict[str, str] = yaml.safe_load((HERE / "stores.yaml").read_text())
    return answers | ({"log-store": stores[name]} if name in stores else {})


def host(name: str = JUDGED) -> Host:
    """A machine that has not been asked yet."""
    return Host.model_validate({**NOTHING, "urn": urn("twin", name), "name": name} | MACHINES[name])


def change(answers: Answers, case: dict[str, Any]) -> Answers:
    """The answers with one of them changed: to `put`, or with the first text of `swap` by the second."""
    fresh: Answers = json.loads(json.dumps(answers))
    if "at" not in case:
        return fresh
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


def facts(answers: Answers, name: str = JUDGED) -> PlanFacts:
    """All machines: one with these answers, the others with clean ones."""
    return _with({name: told(host(name), answers)[0]})


def _with(hosts: dict[str, Host]) -> PlanFacts:
    return PlanFacts((*hosts.values(), *(one for name, one in _clean().items() if name not in hosts)))


@cache
def _clean() -> dict[str, Host]:
    return {name: told(host(name), read_clean(name))[0] for name in MACHINES}


def with_case(case: dict[str, Any]) -> PlanFacts:
    """All machines with clean answers, but for the change of a case, on the machines that it names.

    `host` changes what the estate says of them.
    """
    names = case.get("machines", [JUDGED])
    asked = {name: host(name).model_copy(update=case.get("host", {})) for name in names}
    return _with({name: told(one, change(read_clean(name), case))[0] for name, one in asked.items()})


def differ(one: Baseline, other: Baseline, control: str) -> bool:
    """Whether two baselines find anything else on clean machines, or with the cases of a control."""
    plans = [facts(read_clean()), *map(with_case, cases().get(control, []))]
    return any(_violations(plan, one) != _violations(plan, other) for plan in plans)


def _violations(plan: PlanFacts, baseline: Baseline) -> list[str]:
    return said(run(LIVE, plan, baseline).of(Outcome.VIOLATION))


def cases() -> dict[str, list[dict[str, Any]]]:
    """The violating cases of each control."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(HERE.glob("C-*.yaml"))}
