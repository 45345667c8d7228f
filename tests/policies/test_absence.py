"""No rule passes because what it judges is not there: a renamed or forgotten part of a plan is a fault."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from policies.baseline import Baseline
from policies.facts import OURS, TYPES, PlanFacts, Raw
from policies.rules import REGISTRY, run
from policies.verdicts import Outcome
from stacks.model import load, signing
from tests.policies.plans import Plan, certificate, facts, put, said
from tests.policies.recorded import recorded


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> list[Raw]:
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "stand-in.pem").write_text(certificate("authority.pem"))
    for token in signing.tokens(load("twin")):
        for key in token.keys:
            file = "time-stamps.pem" if key.purpose == "time-stamp" else "documents.pem"
            (folder / f"{key.label}.pem").write_text(certificate(file))
    return recorded("twin", "qhdc", folder)


def test_every_rule_judges_something_of_the_real_plan(twin: list[Raw], baseline: Baseline) -> None:
    plan = PlanFacts.of(twin)
    assert plan.malformed == ()
    report = run(REGISTRY, plan, baseline, plan.limits)
    assert report.crashes == ()
    assert {one.control for one in report.verdicts if one.outcome is Outcome.LIMIT} == {
        "C-SIG-01",
        "C-K8S-07",
        "C-DR-02",
        "C-DR-08",
    }
    assert said(one for one in report.verdicts if one.outcome not in (Outcome.PASS, Outcome.LIMIT)) == []
    judged = Counter(one.control for one in report.verdicts)
    assert [rule.control for rule in REGISTRY if not judged[rule.control]] == []


UNDECLARED = {"kubernetes:apps/v1:StatefulSet", "kubernetes:apps/v1:DaemonSet"}
"""Workloads that no stack has yet: one that comes is judged like the others."""


def test_every_type_of_ours_is_in_the_real_plan(twin: list[Raw]) -> None:
    there = {raw.type for raw in twin if raw.type.startswith(OURS) or raw.type in TYPES}
    assert there | UNDECLARED == TYPES.keys() and not there & UNDECLARED


NEEDED = {
    "qhs:network:Site": [
        "environment",
        "site",
        "sites",
        "externals",
        "zones",
        "carriers",
        "partners",
        "limits",
        "centres",
        "tenants",
    ],
    "qhs:network:Segment": ["site", "zone", "kind", "firewall"],
    "qhs:dns:Record": ["addresses"],
    "qhs:network:Enforcement": ["target"],
    "qhs:network:Ruleset": ["target", "site", "kind", "members", "guards", "flows"],
    "qhs:signing:Site": ["environment", "site", "devices", "quorum", "authority", "limits"],
    "qhs:signing:Token": ["site", "token", "devices"],
    "qhs:signing:Key": ["site", "token", "devices", "label", "algorithm", "use"],
    "qhs:signing:Certificate": ["site", "token", "devices", "label", "authority", "anchor", "chain"],
    "qhs:secrets:Policy": ["rules"],
    "qhs:secrets:Site": ["site", "nodes"],
    "qhs:secrets:TransitKey": ["site"],
    "qhs:storage:Site": ["site", "machine"],
    "qhs:storage:Backups": ["site", "machine", "zone", "sources", "zones"],
    "qhs:storage:Bucket": ["versioned"],
    "qhs:data:Replica": ["site", "copies", "databases"],
    "qhs:data:Tenant": ["tenant", "rpo"],
    "qhs:data:Backups": ["site", "stores"],
    "qhs:data:Database": ["information"],
    "qhs:cloud:Site": ["environment", "site", "controls", "limits", "registry", "nodes", "tenants"],
    "qhs:cloud:Tenant": ["site", "tenant", "zone", "tier", "sites"],
    "kubernetes:core/v1:Namespace": ["metadata"],
    "kubernetes:core/v1:ResourceQuota": ["metadata", "spec"],
    "kubernetes:core/v1:LimitRange": ["metadata"],
    "kubernetes:networking.k8s.io/v1:NetworkPolicy": ["metadata", "spec"],
    "kubernetes:apps/v1:Deployment": ["metadata", "spec"],
}


@pytest.mark.parametrize("renamed", [True, False], ids=["renamed", "null"])
@pytest.mark.parametrize(("token", "key"), [(token, key) for token, keys in NEEDED.items() for key in keys])
def test_a_value_that_rules_need_is_malformed_where_it_is_missing(
    twin: list[Raw], token: str, key: str, renamed: bool
) -> None:
    def without(raw: Raw) -> Raw:
        if raw.type != token:
            return raw
        rest = {name: value for name, value in raw.props.items() if name != key}
        return replace(raw, props=rest | ({f"{key}2": raw.props[key]} if renamed else {key: None}))

    wrong = PlanFacts.of(map(without, twin)).malformed
    assert {(one.urn, one.field) for one in wrong} == {(raw.urn, key) for raw in twin if raw.type == token}


@pytest.mark.parametrize(
    "at",
    [["qhdc-network", "externals", "internet", "medium"], ["qhdc-fw", "flows", "edge-to-app", "rules"]],
    ids=["medium", "rules"],
)
def test_a_value_inside_another_is_malformed_where_it_is_missing(clean: Plan, at: list[Any]) -> None:
    put(clean, at, None)
    wrong = [(one.field, one.found, one.wanted) for one in facts(clean).malformed]
    assert wrong == [(".".join(at[1:]), "nothing", "a value")]


def test_a_renamed_type_is_malformed(twin: list[Raw]) -> None:
    renamed = [replace(raw, type=raw.type.replace("Ruleset", "RuleSet")) for raw in twin]
    wrong = PlanFacts.of(renamed).malformed
    assert {(one.field, one.found) for one in wrong} == {("type", "'qhs:network:RuleSet'")}
    assert len(wrong) == sum(raw.type == "qhs:network:Ruleset" for raw in twin)


def test_a_site_without_rulesets_is_refused(twin: list[Raw], baseline: Baseline) -> None:
    bare = PlanFacts.of(raw for raw in twin if raw.type != "qhs:network:Ruleset")
    assert said(run(REGISTRY, bare, baseline, bare.limits).of(Outcome.VIOLATION)) == [
        "C-NET-02 qhdc-network: firewall pair: found no ruleset of a firewall pair; wanted one beneath the site; "
        "fix: declare the rulesets of the site"
    ]


def test_a_pair_of_another_site_does_not_count(twin: list[Raw], baseline: Baseline) -> None:
    other = Raw("urn:pulumi:s::p::qhs:network:Site::ndc-network", "qhs:network:Site", "ndc-network", None, {})
    shown = next(raw.props for raw in twin if raw.type == "qhs:network:Site")
    centres = dict(zip(("one", "other"), shown["centres"].values(), strict=True))  # it is none itself
    other.props.update(shown | {"site": "ndc", "centres": centres})
    plan = PlanFacts.of([*twin, other])
    found = run(REGISTRY, plan, baseline, plan.limits).of(Outcome.VIOLATION)
    assert [(one.control, one.urn) for one in found] == [("C-NET-02", other.urn)]
