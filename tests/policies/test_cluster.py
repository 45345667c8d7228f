"""Rules for a cluster that runs: what stands in a clean one passes; each change is found, with its message."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.baseline import Baseline, load
from policies.facts import PlanFacts
from policies.live.cluster import held, unasked
from policies.rules import CLUSTER, run
from policies.verdicts import Outcome, Report
from qhs import comply as complying
from qhs.comply import held_at, judge
from stacks.model import load as load_estate
from stacks.model.cloud import places
from tests.policies.plans import said

TENANT = "cu-tri"
FIX = "fix: what the roles and the stack declare, or policies/baseline/cis.yaml"
COMPONENT = "fix: stacks/components/cloud_tenant.py declares it"
POD = ("Pod", "canary-1")
IMAGE = "docker.example/canary:1"

type Item = dict[str, Any]


def clean() -> list[Item]:
    found: list[Item] = yaml.safe_load((Path(__file__).parent / "cluster.yaml").read_text())
    return found


def of(found: list[Item], kind: str, name: str) -> Item:
    return next(one for one in found if one["kind"] == kind and one["metadata"]["name"] == name)


def without(kind: str, name: str) -> list[Item]:
    found = clean()
    found.remove(of(found, kind, name))
    return found


def changed(kind: str, name: str, path: str, value: Any) -> list[Item]:
    """One value of one object put; a path of `a.0.b`."""
    found = clean()
    node: Any = of(found, kind, name)
    *above, last = [int(one) if one.isdigit() else one for one in path.split(".")]
    for key in above:
        node = node[key]
    node[last] = value
    return found


def bound(role: str, subject: Item, *rules: Item) -> list[Item]:
    """A right that somebody gave by hand, and the role where it is none of the API's own."""
    own = [{"kind": "ClusterRole", "metadata": {"name": role}, "rules": list(rules)}] if rules else []
    metadata, ref = {"name": "by-hand"}, {"kind": "ClusterRole", "name": role}
    return [
        *clean(),
        *own,
        {"kind": "ClusterRoleBinding", "metadata": metadata, "roleRef": ref, "subjects": [subject]},
    ]


def moved(name: str) -> list[Item]:
    """The pod in another namespace, and a policy for it there."""
    found = changed(*POD, "metadata", {"namespace": name, "name": "canary-1"})
    policy = copy.deepcopy(of(found, "NetworkPolicy", "nothing"))
    policy["metadata"]["namespace"] = name
    return [*found, policy]


USER = {"kind": "User", "name": "somebody"}
WHO = "User somebody by by-hand"


def may(verb: str, resource: str) -> list[Item]:
    return bound("mine", USER, {"apiGroups": [""], "resources": [resource], "verbs": [verb]})


RIGHTS = [
    ("5.1.2", "watch", "secrets", "nobody of ours reads secrets"),
    ("5.1.4", "create", "cronjobs", "nobody of ours starts pods"),
    ("5.1.8", "impersonate", "users", "nobody of ours hands on rights or is somebody else"),
    ("5.1.9", "create", "persistentvolumes", "nobody of ours makes volumes"),
    ("5.1.10", "get", "nodes/proxy", "nobody but the API reaches through it into a node"),
    ("5.1.11", "update", "certificatesigningrequests/approval", "nobody of ours has certificates signed"),
    (
        "5.1.12",
        "create",
        "mutatingwebhookconfigurations",
        "nobody of ours changes who is asked before anything is admitted",
    ),
    ("5.1.13", "create", "serviceaccounts/token", "nobody of ours makes tokens of accounts"),
]
CASES: dict[str, tuple[list[Item], list[str]]] = {
    **{
        number: (may(verb, resource), [f"C-K8S-09 qhdc-cluster: {number}: found {WHO}; wanted {wanted}; {FIX}"])
        for number, verb, resource, wanted in RIGHTS
    },
    "5.1.1": (
        [one for one in bound("cluster-admin", USER) if one["metadata"]["name"] != "cluster-admin" or "roleRef" in one],
        [
            "C-K8S-09 qhdc-cluster: 5.1.1: found by-hand gives cluster-admin; "
            f"wanted nobody of ours may everything; {FIX}"
        ],
    ),
    "5.1.3": (
        changed("ClusterRole", "pod-policies", "rules.0.apiGroups", ["*"]),
        [
            "C-K8S-09 qhdc-cluster: 5.1.3: found the role pod-policies names everything; "
            f"wanted no role of ours names everything; {FIX}"
        ],
    ),
    "3.1.2": (
        bound("view", {"kind": "ServiceAccount", "namespace": TENANT, "name": "parts"}),
        [
            "C-K8S-09 qhdc-cluster: 3.1.2: found by-hand is of ServiceAccount cu-tri/parts; "
            f"wanted people do not come by tokens of accounts; no account may anything; {FIX}"
        ],
    ),
    "5.1.5": (
        changed(*POD, "spec.serviceAccountName", "default"),
        [
            "C-K8S-09 qhdc-cluster: 5.1.5: found cu-tri/canary-1 runs as default; "
            f"wanted the account that is everybody's is nobody's; {FIX}"
        ],
    ),
    "5.4.1": (
        changed(*POD, "spec.containers.0.env", [{"name": "PIN", "valueFrom": {"secretKeyRef": {"name": "pin"}}}]),
        [
            f"C-K8S-09 qhdc-cluster: 5.4.1: found cu-tri/canary-1 has one; wanted secrets are no variables; {FIX}",
            "C-K8S-09 qhdc-cluster: 5.4.2: found cu-tri/canary-1 has one; "
            f"wanted secrets are kept outside of the cluster; {FIX}",
        ],
    ),
    "5.4.2": (
        changed(*POD, "spec.volumes.1.projected.sources", [{"secret": {"name": "pin"}}]),
        [
            "C-K8S-09 qhdc-cluster: 5.4.2: found cu-tri/canary-1 has one; "
            f"wanted secrets are kept outside of the cluster; {FIX}"
        ],
    ),
    "5.5.1": (
        changed("ValidatingAdmissionPolicyBinding", "parts-of-applications", "spec.validationActions", ["Audit"]),
        [
            "C-K8S-09 qhdc-cluster: 5.5.1: found no policy of admission refuses anything; "
            f"wanted a service says which images are good; {FIX}"
        ],
    ),
    "5.6.1": (
        moved("kube-system"),
        [
            "C-K8S-09 qhdc-cluster: 5.6.1: found kube-system/canary-1; "
            f"wanted each application has a namespace of its own; {FIX}"
        ],
    ),
    "5.6.4": (
        [*clean(), {"kind": "Service", "metadata": {"namespace": "default", "name": "web"}, "spec": {}}],
        [
            "C-K8S-09 qhdc-cluster: 5.6.4: found the service default/web; "
            f"wanted nothing stands in the namespace that nobody chose; {FIX}"
        ],
    ),
    "5.3.2": (
        without("NetworkPolicy", "nothing"),
        [
            "C-K8S-05 cu-tri: default: found no policy that denies all; "
            f"wanted one of every pod in both directions without a rule; {COMPONENT}",
            "C-K8S-09 qhdc-cluster: 5.3.2: found no policy in cu-tri; "
            f"wanted each namespace with pods has policies; {FIX}",
        ],
    ),
    "a hole in a fence": (
        changed("NetworkPolicy", "nothing", "spec.egress", [{}]),
        [
            "C-K8S-05 cu-tri: default: found no policy that denies all; "
            f"wanted one of every pod in both directions without a rule; {COMPONENT}"
        ],
    ),
    "no quota": (
        without("ResourceQuota", "room"),
        [f"C-K8S-05 cu-tri: quota: found no quota of memory and processors; wanted one; {COMPONENT}"],
    ),
    "no limits": (
        without("LimitRange", "each"),
        [f"C-K8S-05 cu-tri: limits: found no limits of a container that names none; wanted some; {COMPONENT}"],
    ),
    "another profile": (
        changed("Namespace", TENANT, "metadata.labels", {"tenant": TENANT}),
        [f"C-K8S-04 cu-tri: pod-security.kubernetes.io/enforce: found nothing; wanted restricted; {COMPONENT}"],
    ),
    "a token of the API": (
        changed(*POD, "spec.automountServiceAccountToken", None),
        [
            "C-K8S-04 cu-tri/canary-1: pods: found a token of the API; wanted automountServiceAccountToken: false; "
            "fix: stacks/components/tenant_canary.py declares it"
        ],
    ),
    "an image of somewhere": (
        changed(*POD, "spec.containers.0.image", IMAGE),
        [
            f"C-K8S-08 cu-tri/canary-1: images: found the image '{IMAGE}'; wanted one of the site's registry, by its "
            "digest; fix: stacks/components/tenant_canary.py declares it"
        ],
    ),
}


@pytest.fixture
def judged(baseline: Baseline) -> Callable[[list[Item]], Report]:
    def _judged(found: list[Item]) -> Report:
        return run(CLUSTER, PlanFacts(tuple(held("twin", "qhdc", found, {TENANT}, "tenant"))), baseline)

    return _judged


def spoken(report: Report, outcome: Outcome = Outcome.VIOLATION) -> list[str]:
    return [one.replace("qhdc-cluster/", "") for one in said(report.of(outcome))]


def test_what_stands_in_a_clean_cluster_passes_but_for_waivers(judged: Any) -> None:
    report = judged(clean())
    assert report.crashes == ()
    assert spoken(report) + spoken(report, Outcome.UNDECIDED) == []
    assert {one.subject for one in report.of(Outcome.WAIVED)} == {"5.1.7", "5.5.1"}
    assert {one.control for one in report.of(Outcome.PASS)} == {rule.control for rule in CLUSTER}


@pytest.mark.parametrize("name", CASES)
def test_a_change_is_found_with_its_message(judged: Any, name: str) -> None:
    found, says = CASES[name]
    report = judged(found)
    assert report.crashes == ()
    assert sorted(spoken(report)) == sorted(says)


def test_every_check_of_a_cluster_has_a_case() -> None:
    own = {n for n, one in load().cis.items() if n.startswith("5") and not one.judged_by and (one.rights or one.query)}
    assert own | {"3.1.2"} == {one for one in CASES if one[0].isdigit()}


def test_an_application_that_has_no_place_breaks_all_that_it_is_to_have(judged: Any) -> None:
    empty = [one for one in clean() if TENANT not in (one["metadata"]["name"], one["metadata"].get("namespace"))]
    assert {(one.control, one.subject) for one in judged(empty).of(Outcome.VIOLATION)} == {
        ("C-K8S-04", "pod-security.kubernetes.io/enforce"),
        ("C-K8S-05", "default"),
        ("C-K8S-05", "quota"),
        ("C-K8S-05", "limits"),
    }


def test_a_cluster_that_does_not_answer_is_undecided_and_incomplete(baseline: Baseline) -> None:
    silent = unasked("twin", "qhdc")
    gaps = {silent.name: {"anything": "connection refused"}}
    report = judge(load_estate("twin"), (), gaps, baseline, (PlanFacts((silent,)),))
    late = {one.subject for one in report.findings if one.outcome is Outcome.UNDECIDED}
    assert {"5.1.1", "5.6.4", "3.1.2"} <= late
    assert {one.outcome for one in report.findings} == {Outcome.UNDECIDED}, "nothing is waived of it either"
    assert report.code == 3


def test_clusters_are_judged_apart_although_names_in_them_are_the_same(baseline: Baseline) -> None:
    there = PlanFacts(tuple(held("twin", "ndc", clean(), {TENANT}, "tenant")))
    here = PlanFacts(tuple(held("twin", "qhdc", without("ResourceQuota", "room"), {TENANT}, "tenant")))
    report = judge(load_estate("twin"), (), {}, baseline, (here, there))
    found = [(one.machine, one.subject) for one in report.findings if one.outcome is Outcome.VIOLATION]
    assert found == [("qhdc-cluster/cu-tri", "quota")]
    assert report.code == 2


def test_every_application_of_the_model_is_looked_for_at_its_site() -> None:
    estate = load_estate("twin", datetime(2026, 11, 25, tzinfo=UTC))
    names = {one.name for one in held_at(estate, "qhdc", []).resources if one.type == "Namespace"}
    assert names == {f"qhdc-cluster/{one.name}" for one in places(estate, "qhdc")}
    assert complying.TENANT == "tenant"
