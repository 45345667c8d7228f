"""What nodes and pods use, as the API of each site's cluster tells it to whoever may know."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from stacks.model import load
from stacks.model.cloud import PART, places
from stacks.model.estate import CONTROL, WORKER
from stacks.model.images import CANARY
from stacks.model.kubernetes import AGGREGATOR, METRICS_PORT
from tests.twin.conftest import MEASURED
from tests.twin.hosts import Hosts
from tests.twin.test_control_plane import SITES, Kubectl, kubectl
from tests.twin.waiting import await_

pytestmark = pytest.mark.live
__all__ = ["kubectl"]

ESTATE = load("twin")
CONTROLS = {site: [one.name for one in ESTATE.with_role(site, CONTROL)] for site in SITES}
OWNERS = {site: {one.name: one.owner for one in places(ESTATE, site)} for site in SITES}
ONE, OTHER = "mail", "bau-cu"
EVERYTHING = "/apis/metrics.k8s.io/v1beta1"
SELECTOR = ",".join(f"{key}={value}" for key, value in PART.items())
TWICE = 60
"""Seconds within which every node is asked twice: what it uses of its processors is told after that."""
WITHIN = 8 * 2**20
"""Bytes by which a part may have grown or shrunk between two looks at it."""
# As whoever is on the machine, by a certificate or none, saying that he asks for somebody who may everything.
FORGED = f"""
import http.client, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
if sys.argv[1:]:
    context.load_cert_chain(*sys.argv[1:])
there = http.client.HTTPSConnection("127.0.0.1", {METRICS_PORT}, context=context, timeout=10)
given = {{"X-Remote-User": "operator", "X-Remote-Group": "system:masters"}}
there.request("GET", "{EVERYTHING}/pods", headers=given)
print(there.getresponse().status)
"""


def asked(kubectl: Kubectl, site: str, path: str) -> dict[str, Any]:
    code, said = kubectl(site, "get", "--raw", path)
    assert code == 0, said
    found: dict[str, Any] = json.loads(said)
    return found


def told(kubectl: Kubectl, site: str) -> dict[tuple[str, str], int]:
    """By application and pod, the bytes that it holds."""
    return {
        (one["metadata"]["namespace"], one["metadata"]["name"]): sum(map(held, one["containers"]))
        for one in asked(kubectl, site, f"{EVERYTHING}/pods?labelSelector={SELECTOR}")["items"]
    }


def held(container: dict[str, Any]) -> int:
    number = container["usage"]["memory"]
    units = {"Ki": 2**10, "Mi": 2**20}
    return int(number[:-2]) * units[number[-2:]] if number[-2:] in units else int(number)


def running(kubectl: Kubectl, site: str) -> set[tuple[str, str]]:
    code, said = kubectl(site, "get", "pods", "--all-namespaces", f"--selector={SELECTOR}", "--output=json")
    assert code == 0, said
    return {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in json.loads(said)["items"]}


def seen_by_nodes(kubectl: Kubectl, site: str) -> dict[tuple[str, str], int]:
    """The same, as each node itself says it."""
    line = re.compile(r'^pod_memory_working_set_bytes\{namespace="([^"]+)",pod="([^"]+)"\} (\S+)', re.MULTILINE)
    found = {}
    for node in ESTATE.with_role(site, WORKER):
        code, said = kubectl(site, "get", "--raw", f"/api/v1/nodes/{node.name}/proxy/metrics/resource")
        assert code == 0, said
        found |= {(namespace, name): int(float(number)) for namespace, name, number in line.findall(said)}
    return found


@pytest.mark.parametrize("site", SITES)
def test_every_node_and_every_part_of_an_application_is_told_of(kubectl: Kubectl, site: str) -> None:
    await_(lambda: running(kubectl, site) == told(kubectl, site).keys(), TWICE)
    code, said = kubectl(site, "top", "nodes", "--no-headers")
    assert code == 0, said
    assert {line.split()[0] for line in said.splitlines()} == {one.name for one in ESTATE.with_role(site, WORKER)}
    code, said = kubectl(site, "top", "pods", f"--namespace={ONE}", "--no-headers")
    assert code == 0, said
    assert all(re.fullmatch(rf"{CANARY}-\S+ +\d+m +[1-9]\d*Mi *", line) for line in said.splitlines()), said


def test_what_is_told_is_what_the_nodes_say(kubectl: Kubectl) -> None:
    one, other = told(kubectl, "qhdc"), seen_by_nodes(kubectl, "qhdc")
    odd = {name: (bytes_, other.get(name)) for name, bytes_ in one.items() if abs(bytes_ - other.get(name, 0)) > WITHIN}
    assert one and odd == {}
    MEASURED.append(f"metrics: {len(one)} parts at qhdc hold {sum(one.values()) / 1e6:.0f} MB")


def test_owners_see_their_own_parts_and_nobody_else_sees_any(kubectl: Kubectl) -> None:
    """Whoever asks, the API says for whom it asks: it is not its own rights that count."""
    owner = ("--as=somebody", f"--as-group={OWNERS['qhdc'][ONE]}")
    assert OWNERS["qhdc"][ONE] != OWNERS["qhdc"][OTHER]
    assert kubectl("qhdc", "top", "pods", f"--namespace={ONE}", *owner)[0] == 0
    for words in (
        ("top", "pods", f"--namespace={OTHER}", *owner),
        ("top", "nodes", *owner),
        ("top", "pods", f"--namespace={ONE}", "--as=somebody"),
        ("top", "pods", f"--namespace={ONE}", f"--as={AGGREGATOR.user}"),
    ):
        code, said = kubectl("qhdc", *words)
        assert code == 1 and "(Forbidden)" in said, said


def test_only_the_api_is_believed_for_whom_it_asks(hosts: Hosts) -> None:
    machine, scheduler = "/etc/qhs/tls/machine", "/var/lib/qhs-kubernetes/kube-scheduler.pem"
    for certificate in ("", f"{machine}.crt {machine}.key", f"{scheduler} {scheduler}"):
        said = hosts.say(f"python3 -c {shlex.quote(FORGED)} {certificate}", CONTROLS["qhdc"])
        assert set(said.values()) <= {"401", "403"}, (certificate, said)


@pytest.mark.parametrize("site", SITES)
def test_other_machines_do_not_reach_it_and_it_takes_little(hosts: Hosts, site: str) -> None:
    listening = hosts.say(f"ss --no-header --listening --numeric --tcp 'sport = :{METRICS_PORT}'", CONTROLS[site])
    resident = hosts.say("ps -o rss= -C metrics-server", CONTROLS[site])
    for name in CONTROLS[site]:
        assert listening[name].split()[3] == f"127.0.0.1:{METRICS_PORT}"
        MEASURED.append(f"metrics-server at {name}: {int(resident[name]) / 1e3:.0f} MB")
        assert int(resident[name]) < 80_000


def test_with_a_new_certificate_it_is_asked_again(hosts: Hosts, kubectl: Kubectl) -> None:
    (machine,) = CONTROLS["ndc"]
    running = "systemctl show -P MainPID qhs-metrics-server"
    before = hosts.say(running, [machine])
    hosts.say("rm /var/lib/qhs-kubernetes/metrics-server.pem && systemctl start qhs-kubernetes-identity", [machine])
    await_(lambda: hosts.say(running, [machine])[machine] not in ("0", before[machine]))
    await_(lambda: kubectl("ndc", "top", "nodes")[0] == 0, 2 * TWICE)


@pytest.fixture
def autoscaler(kubectl: Kubectl) -> Iterator[str]:
    """Of a canary, which it leaves at as many as there are."""
    copies = next(one.copies for one in places(ESTATE, "qhdc") if one.name == ONE)
    usage = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 90}},
    }
    wanted = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "of-a-test", "namespace": ONE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": CANARY},
            "minReplicas": copies,
            "maxReplicas": copies,
            "metrics": [usage],
        },
    }
    assert kubectl("qhdc", "apply", "--filename=-", input=json.dumps(wanted))[0] == 0
    yield "of-a-test"
    assert kubectl("qhdc", "delete", "horizontalpodautoscaler", "of-a-test", f"--namespace={ONE}")[0] == 0


def test_an_autoscaler_of_the_cluster_knows_what_its_pods_use(kubectl: Kubectl, autoscaler: str) -> None:
    path = f"/apis/autoscaling/v2/namespaces/{ONE}/horizontalpodautoscalers/{autoscaler}"

    def scales() -> bool:
        conditions = asked(kubectl, "qhdc", path).get("status", {}).get("conditions", [])
        return ("ScalingActive", "True", "ValidMetricFound") in {
            (o["type"], o["status"], o["reason"]) for o in conditions
        }

    await_(scales)
