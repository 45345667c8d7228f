"""Each application's place in the cluster of each of its sites (C-K8S-04, C-K8S-05)."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stacks.model import load
from stacks.model.cloud import places, priority
from stacks.model.images import registries
from tests.engine.clone_copy import CloneCopy
from tests.twin.conftest import NAME, Run
from tests.twin.consent import Consent
from tests.twin.hosts import Hosts
from tests.twin.test_control_plane import SITES, Kubectl, kubectl
from tests.twin.test_nodes import pod

pytestmark = pytest.mark.live
__all__ = ["kubectl"]

ESTATE = load("twin")
ALL = {site: {one.name: one for one in places(ESTATE, site)} for site in SITES}
ONE = "dieu-hanh"
"""Of both sites."""
CONTROL = "ndc-cp1"
DAY = timedelta(days=1)
DIGEST = f"sha256:{'0' * 64}"
WRITES = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def names(kubectl: Kubectl, site: str, *words: str) -> set[tuple[str, str]]:
    """Namespace and name of what is there."""
    code, said = kubectl(site, "get", *words, "--output=json")
    assert code == 0, said
    found = [one["metadata"] for one in json.loads(said)["items"]]
    return {(one.get("namespace", ""), one["name"]) for one in found}


def pulumi(qhs: Run, site: str, *words: str) -> tuple[int, str]:
    done = qhs("shell", "--", "pulumi", *words, "-s", f"twin.{site}.cloud", "--non-interactive")
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("site", SITES)
def test_every_application_has_its_place_at_each_of_its_sites(kubectl: Kubectl, site: str) -> None:
    assert names(kubectl, site, "namespaces", "--selector=tenant") == {("", name) for name in ALL[site]}
    everywhere = "--all-namespaces"
    for kind, each in (
        ("networkpolicies", ("nothing", "flows")),
        ("resourcequotas", ("room",)),
        ("limitranges", ("each",)),
    ):
        wanted = {(name, one) for name in ALL[site] for one in each}
        assert names(kubectl, site, kind, everywhere) == wanted
    assert {(name, "parts") for name in ALL[site]} <= names(kubectl, site, "serviceaccounts", everywhere)


def part(site: str, **changed: object) -> str:
    """A pod of an application that asks for nothing too much, but for what is changed of it."""
    whole = json.loads(pod("of-a-test", f"{registries(ESTATE)[site].name}/none@{DIGEST}"))
    whole["spec"] |= {"priorityClassName": priority(ALL[site][ONE].tier)} | changed
    return json.dumps(whole)


def refused(kubectl: Kubectl, site: str, given: str) -> str:
    """What the API says to a pod; empty: it would take it."""
    code, said = kubectl(site, "apply", "--dry-run=server", f"--namespace={ONE}", "--filename=-", input=given)
    assert code == 0 or "forbidden" in said or "denied request" in said, said
    return said if code else ""


def container(**changed: object) -> list[object]:
    (own,) = json.loads(part("ndc"))["spec"]["containers"]
    return [own | changed]


@pytest.mark.parametrize("site", SITES)
def test_a_pod_that_asks_for_nothing_too_much_is_taken(kubectl: Kubectl, site: str) -> None:
    assert refused(kubectl, site, part(site)) == ""


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"hostNetwork": True}, 'violates PodSecurity "restricted:latest": host namespaces'),
        ({"securityContext": {}}, 'violates PodSecurity "restricted:latest": runAsNonRoot != true'),
        ({"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}, "restricted volume types"),
        ({"containers": container(image=f"docker.example/none@{DIGEST}")}, "wanted every image by its digest, from"),
        ({"containers": container(image="registry.ndc.qhs.example/none:1")}, "wanted every image by its digest, from"),
        ({"initContainers": container(name="first", image="none")}, "wanted every image by its digest, from"),
        ({"containers": container(securityContext=WRITES)}, "wanted readOnlyRootFilesystem: true"),
        ({"automountServiceAccountToken": True}, "wanted automountServiceAccountToken: false"),
        ({"priorityClassName": "tier-1"}, "wanted the priorityClassName of the application's tier"),
        ({"tolerations": [{"operator": "Exists"}]}, "wanted tolerations of the application's own zone alone"),
        ({"tolerations": [{"key": "zone", "value": "gpu"}]}, "wanted tolerations of the application's own zone alone"),
    ],
)
def test_a_pod_that_asks_for_too_much_is_refused(kubectl: Kubectl, changed: dict[str, object], says: str) -> None:
    assert says in refused(kubectl, "ndc", part("ndc", **changed))


def test_more_than_an_application_reserves_is_refused(kubectl: Kubectl) -> None:
    most = ALL["ndc"][ONE].capacity.cpu

    def asks(cpu: float) -> str:
        return part("ndc", containers=container(resources={one: {"cpu": f"{cpu:g}"} for one in ("requests", "limits")}))

    assert refused(kubectl, "ndc", asks(most / 2)) == ""
    assert "exceeded quota: room" in refused(kubectl, "ndc", asks(most))  # it has a part already
    assert "maximum cpu usage per Container" in refused(kubectl, "ndc", asks(most + 1))


def test_owners_see_how_their_application_is_and_no_secret_and_no_other(kubectl: Kubectl) -> None:
    owner = ALL["ndc"][ONE].owner
    other = next(one for one in ALL["ndc"].values() if one.owner != owner)

    def may(verb: str, what: str, where: str) -> str:
        words = ("auth", "can-i", verb, what, f"--namespace={where}", "--as=somebody", f"--as-group={owner}")
        return kubectl("ndc", *words)[1].splitlines()[0]

    assert [may("list", "pods", ONE), may("get", "pods/log", ONE)] == ["yes", "yes"]
    assert [may("list", "secrets", ONE), may("create", "pods", ONE), may("list", "pods", other.name)] == ["no"] * 3


def test_what_is_changed_by_hand_is_seen_and_put_right(qhs: Run, kubectl: Kubectl) -> None:
    """A fence that is gone, one with a hole; nothing is replaced, although the way in is another each time (T-A07)."""
    hole = json.dumps({"spec": {"egress": [{}]}})
    assert kubectl("ndc", "delete", "networkpolicy", "nothing", f"--namespace={ONE}")[0] == 0
    assert (
        kubectl("ndc", "patch", "networkpolicy", "flows", f"--namespace={ONE}", "--type=merge", f"--patch={hole}")[0]
        == 0
    )
    code, said = pulumi(qhs, "ndc", "preview", "--refresh", "--expect-no-changes")
    assert code != 0 and "1 to create" in said and "1 to update" in said and "replace" not in said, said[-4000:]
    code, said = pulumi(qhs, "ndc", "up", "--yes", "--refresh")
    assert code == 0 and "1 created" in said and "1 updated" in said and "replaced" not in said, said[-4000:]
    assert names(kubectl, "ndc", "networkpolicies", f"--namespace={ONE}") == {(ONE, "nothing"), (ONE, "flows")}
    spec = json.loads(kubectl("ndc", "get", "networkpolicy", "flows", f"--namespace={ONE}", "--output=json")[1])["spec"]
    assert len(spec["egress"]) == 2 + len(ALL["ndc"][ONE].reaches)


def test_a_cluster_that_does_not_answer_loses_nothing_from_the_state(qhs: Run, hosts: Hosts) -> None:
    """Neither by a look at what is there nor by an update (T-A06)."""

    def known() -> list[str]:
        code, said = pulumi(qhs, "ndc", "stack", "export")
        assert code == 0, said
        return [one["urn"] for one in json.loads(said)["deployment"]["resources"]]

    before = known()
    hosts.say("systemctl stop qhs-kube-apiserver", [CONTROL])
    try:
        for words in (("refresh", "--yes"), ("up", "--yes", "--refresh")):
            code, said = pulumi(qhs, "ndc", *words)
            assert code != 0 and "unreachable" in said, said[-4000:]
            assert known() == before
    finally:
        hosts.say("systemctl start qhs-kube-apiserver", [CONTROL])


@pytest.mark.parametrize("site", SITES)
def test_a_cluster_is_told_what_the_signing_stack_of_its_site_has_made(qhs: Run, kubectl: Kubectl, site: str) -> None:
    """Out of a state in the site's own object store (T-A10)."""
    done = qhs("shell", "--", "pulumi", "stack", "output", "clients", "-s", f"twin.{site}.signing", "--non-interactive")
    assert done.returncode == 0, done.stderr
    bundle = "--output=jsonpath={.spec.caBundle}"
    code, said = kubectl(site, "get", "apiservice", "v1beta1.metrics.k8s.io", bundle)
    assert code == 0, said
    assert base64.b64decode(said).decode().strip() == done.stdout.strip()


def test_what_the_signing_stack_does_not_hand_on_fails_the_preview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QHS_TWIN", NAME)
    clone = CloneCopy.make(tmp_path / "clone")
    clone.change("stacks/handed.py", 'Handed("clients"', 'Handed("another"')
    done = clone.qhs("shell", "--", "pulumi", "preview", "-s", "twin.ndc.cloud", "--non-interactive")
    assert done.returncode != 0
    assert "twin.ndc.signing: found no output another; wanted what twin.ndc.cloud takes" in done.stdout + done.stderr


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CloneCopy:
    """A clone that wants more room for an application, whose freeze has begun."""
    monkeypatch.setenv("QHS_TWIN", NAME)
    clone = CloneCopy.make(tmp_path / "clone")
    clone.change("stacks/catalogue/tenants.yaml", "first: 2031-02-15", f"first: {datetime.now(UTC) - DAY:%Y-%m-%d}")
    clone.change("stacks/catalogue/tenants.yaml", "burst: 3.0", "burst: 3.5")
    return clone


def test_on_the_days_of_a_freeze_an_application_is_changed_by_approval_alone(
    qhs: Run, frozen: CloneCopy, tmp_path: Path
) -> None:
    """Refused before anything is applied; what is as it was declared passes (S-113)."""

    def previewed() -> tuple[int, str]:
        done = frozen.qhs("shell", "--", "pulumi", "preview", "-s", "twin.ndc.cloud", "--non-interactive")
        return done.returncode, done.stdout + done.stderr

    code, said = previewed()
    assert code != 0 and "bau-cu is not changed until 2031-06-15 is over (election of the next term)" in said, said
    assert Consent(qhs, tmp_path / "people").to(said) == 1
    code, said = previewed()
    assert code == 0 and "2 to update" in said, said
