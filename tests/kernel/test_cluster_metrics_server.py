"""The API of a cluster and who tells it what nodes and pods use, as their roles start them; a node is played."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qhs.twin import inside
from stacks.model.kubernetes import METRICS, METRICS_PORT
from tests.kernel.certified import new_root
from tests.kernel.control_plane_host import ADDRESS, KEPT, MACHINE, ControlPlane
from tests.kernel.over_image import over_image
from tests.policies.recorded import recorded_cloud
from tests.twin.waiting import await_

NODE, POD, OWNER = "of-a-test", "part", "owners"
API = "/apis/metrics.k8s.io/v1beta1"
PATHS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Service": "/api/v1/namespaces/kube-system/services",
    "APIService": "/apis/apiregistration.k8s.io/v1/apiservices",
}
DECLARED = (
    "qhdc-cluster-metrics-role",
    "qhdc-cluster-metrics",
    "qhdc-metrics",
    "qhdc-metrics-readers",
    "qhdc-metrics-api",
)
NODE_BYTES, POD_BYTES = 512 * 2**20, 20 * 2**20
BEGAN = time.time()
OFTEN = ("--metric-resolution=10s", "--kubelet-request-timeout=5s")
"""As often as it can: two looks at a node are what it takes to know of its processors."""


class Node(http.server.BaseHTTPRequestHandler):
    """What a node's agent says, to whoever has a certificate of the cluster; it keeps who that was."""

    asked_by: set[str]

    def do_GET(self) -> None:
        subject = dict(pair for one in self.connection.getpeercert()["subject"] for pair in one)
        self.asked_by.add(f"{subject['commonName']} {self.path}")
        now, pod = int(time.time() * 1000), f'{{container="only",namespace="default",pod="{POD}"}}'
        used = (now / 1000 - BEGAN) / 4  # a quarter of a processor
        said = (
            f"node_cpu_usage_seconds_total {used} {now}\nnode_memory_working_set_bytes {NODE_BYTES} {now}\n"
            f"container_cpu_usage_seconds_total{pod} {used} {now}\n"
            f"container_memory_working_set_bytes{pod} {POD_BYTES} {now}\n"
            f"container_start_time_seconds{pod} {BEGAN - 600}\n"
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    folder = tmp_path_factory.mktemp("plane")
    with over_image(folder / "cp") as root:
        plane = ControlPlane(root, new_root(folder / "pki"))
        try:
            plane.begin()
            plane.start("cluster_metrics", "qhs-metrics-server", *OFTEN)
            yield plane
        finally:
            plane.end()


@pytest.fixture(scope="module")
def node(plane: ControlPlane) -> Iterator[set[str]]:
    """One with a pod on it; whoever has asked it."""
    Node.asked_by = set()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(plane.root / KEPT / "ca.crt"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*(plane.root / f"etc/qhs/tls/machine.{end}" for end in ("crt", "key")))
    server = inside.call(plane.network, lambda: http.server.ThreadingHTTPServer((ADDRESS, 10250), Node))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = [{"type": "InternalIP", "address": ADDRESS}, {"type": "Hostname", "address": MACHINE}]
    put(plane, "/api/v1/nodes", {"metadata": {"name": NODE}, "status": {"addresses": at}})
    put(plane, "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    put(plane, "/api/v1/namespaces/default/pods", pod())
    path = f"/api/v1/namespaces/default/pods/{POD}/status"
    assert plane.asked(path, {"status": {"phase": "Running"}}, "PATCH")[0] == 200
    yield Node.asked_by
    server.shutdown()


def pod() -> dict[str, Any]:
    refused = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec = {
        "nodeName": NODE,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "only", "image": "none", "securityContext": refused}],
    }
    return {"metadata": {"name": POD}, "spec": spec}


def put(plane: ControlPlane, path: str, what: dict[str, Any]) -> None:
    code, said = plane.asked(path, what)
    assert code in (201, 409), said


@pytest.fixture(scope="module")
def declared(plane: ControlPlane, node: set[str]) -> None:
    """What the stack declares of it, and one who may know of the pods of a namespace.

    He has that right itself: what makes it one of `view` is the controller manager, which does not run here.
    """
    found = {raw.name: raw.props for raw in recorded_cloud("twin", "qhdc")}
    found["qhdc-metrics-api"]["spec"]["caBundle"] = base64.b64encode(plane.clients.pem.encode()).decode()
    for name in DECLARED:
        put(plane, PATHS[found[name]["kind"]], whole(found[name]))
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "metrics-readers"}
    who = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": OWNER}]
    bound = {"metadata": {"name": OWNER}, "roleRef": role, "subjects": who}
    put(plane, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", bound)
    await_(lambda: len(plane.asked(f"{API}/pods")[1].get("items", [])) == 1, 90)


def whole(value: Any) -> Any:
    """Numbers as they are meant: the engine has one kind of them."""
    if isinstance(value, dict):
        return {key: whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    return int(value) if isinstance(value, float) else value


def test_what_the_node_says_is_what_the_api_tells(plane: ControlPlane, declared: None, node: set[str]) -> None:
    await_(lambda: plane.asked(f"{API}/nodes")[1]["items"] != [], 60)
    (one,), (part,) = (plane.asked(f"{API}/{what}")[1]["items"] for what in ("nodes", "pods"))
    assert (one["metadata"]["name"], one["usage"]["memory"]) == (NODE, "512Mi")
    (only,) = part["containers"]
    assert (part["metadata"]["name"], only["usage"]["memory"]) == (POD, "20Mi")
    assert 200e6 < int(only["usage"]["cpu"].removesuffix("n")) < 300e6
    assert node == {f"system:{METRICS} /metrics/resource"}


def test_whoever_may_see_pods_of_a_namespace_is_told_of_these_alone(plane: ControlPlane, declared: None) -> None:
    pods = f"{API}/namespaces/default/pods"
    assert plane.asked(pods, user="somebody", group=OWNER)[0] == 200
    for path, group in ((pods, "others"), (f"{API}/namespaces/kube-system/pods", OWNER), (f"{API}/nodes", OWNER)):
        code, said = plane.asked(path, user="somebody", group=group)
        assert (code, said["reason"]) == (403, "Forbidden")


@pytest.mark.parametrize("part", ["", "operator", "kube-scheduler", "kube-aggregator"])
def test_only_the_api_is_believed_for_whom_it_asks(plane: ControlPlane, declared: None, part: str) -> None:
    """Also where the API itself is asked, whom one cannot be by saying so."""

    def ask(port: int, path: str) -> int:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if part:
            context.load_cert_chain(plane.root / KEPT / f"{part}.pem")
        there = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
        there.request("GET", path, headers={"X-Remote-User": "somebody", "X-Remote-Group": "system:masters"})
        return there.getresponse().status

    believed = part == "kube-aggregator"
    assert (inside.call(plane.network, lambda: ask(METRICS_PORT, f"{API}/pods")) == 200) is believed
    if part != "operator":  # who may everything by his own certificate
        assert (inside.call(plane.network, lambda: ask(6443, "/api/v1/secrets")) == 200) is believed


def test_another_one_that_answers_in_its_place_is_not_believed(plane: ControlPlane, declared: None) -> None:
    name = f"{PATHS['APIService']}/v1beta1.metrics.k8s.io"
    other = base64.b64encode((plane.root / "etc/qhs/tls/ca.crt").read_bytes()).decode()
    own = plane.asked(name)[1]["spec"]["caBundle"]
    try:
        assert plane.asked(name, {"spec": {"caBundle": other}}, "PATCH")[0] == 200
        await_(lambda: plane.asked(f"{API}/pods")[0] == 503, 20)
        assert "certificate" in json.dumps(plane.asked(f"{API}/pods")[1])
    finally:
        assert plane.asked(name, {"spec": {"caBundle": own}}, "PATCH")[0] == 200
    await_(lambda: plane.asked(f"{API}/pods")[0] == 200, 20)


def test_it_takes_little(plane: ControlPlane, declared: None) -> None:
    status = Path(f"/proc/{plane.process('qhs-metrics-server')}/status").read_text()
    (resident,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 80_000
