"""The control plane of each site's cluster: who gets in, what it keeps and how, and what the centres hear of it."""

from __future__ import annotations

import base64
import json
import shlex
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from qhs.twin import boot, inside
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.kubernetes import PORT, clusters
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.soc import hear
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
CLUSTERS = clusters(ESTATE)
SITES = tuple(CLUSTERS)
MARKER = "a-word-of-this-test"
TLS = Path("/etc/qhs/tls")
STORED = (
    "import json, sys; sys.path.insert(0, '/usr/local/lib/qhs-etcd'); import qhs_etcd;"
    " print(json.dumps(qhs_etcd.ask({address!r}, 2381, 'kv/range', key={key!r})))"
)

type Kubectl = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def kubectl(qhs: Run, second_up: WatchedUp) -> Kubectl:
    """As whoever provisions, in the shell of the twin: its exit code, and what it said on both streams."""

    def run(site: str, *words: str, **options: Any) -> tuple[int, str]:
        done = qhs("shell", "--", "kubectl", "--context", site, *words, **options)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def secret(kubectl: Kubectl) -> Iterator[str]:
    """At the first site, for this test alone."""
    given = f"--from-literal=word={MARKER}"
    assert kubectl("qhdc", "create", "secret", "generic", "of-a-test", given) == (0, "secret/of-a-test created\n")
    yield "of-a-test"
    assert kubectl("qhdc", "delete", "secret", "of-a-test")[0] == 0


@pytest.mark.parametrize("site", SITES)
def test_a_plain_kubectl_is_let_in_and_everything_is_well(kubectl: Kubectl, site: str) -> None:
    code, said = kubectl(site, "get", "--raw", "/readyz?verbose")
    assert code == 0, said
    assert "readyz check passed" in said
    leases = json.loads(kubectl(site, "get", "leases", "-n", "kube-system", "-o", "json")[1])["items"]
    led = {one["metadata"]["name"] for one in leases if one["spec"]["holderIdentity"].startswith(f"{site}-cp1_")}
    assert {"kube-controller-manager", "kube-scheduler"} <= led


@pytest.mark.parametrize("what", ["nobody", "a machine"])
def test_whoever_has_no_certificate_of_the_cluster_is_told_nothing(twin: Twin, second_up: WatchedUp, what: str) -> None:
    """Not even a version; a certificate of the estate makes no user of the cluster."""
    machine = boot.group(twin, "qhdc-app1")
    context = ssl.create_default_context(cadata=(machine_root(machine.init()) / "ca.crt").read_text())
    if what == "a machine":
        context.load_cert_chain(*(machine_root(machine.init()) / f"machine.{end}" for end in ("crt", "key")))
    told = inside.call(Path(f"/proc/{machine.init()}/ns/net"), partial(asked, "qhdc", context, "/version"))
    assert told[0] == 401
    assert "gitVersion" not in told[1]


def machine_root(init: int) -> Path:
    return Path(f"/proc/{init}/root{TLS}")


def asked(site: str, context: ssl.SSLContext, path: str) -> tuple[int, str]:
    there = CLUSTERS[site]
    connection = HTTPSConnection(there.addresses[0], PORT, context=context, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_secret_is_stored_encrypted(hosts: Hosts, secret: str) -> None:
    key = base64.b64encode(f"/registry/secrets/default/{secret}".encode()).decode()
    address = ESTATE.machines["qhdc-cp1"].addresses[0]
    command = f"python3 -B -c {shlex.quote(STORED.format(address=address, key=key))}"
    said = hosts.say(command, ["qhdc-cp1"])["qhdc-cp1"]
    (found,) = json.loads(said)["kvs"]
    kept = base64.b64decode(found["value"])
    assert kept.startswith(b"k8s:enc:secretbox:v1:first:")
    assert MARKER.encode() not in kept


def test_both_centres_hear_who_read_a_secret_and_nothing_of_it(hosts: Hosts, kubectl: Kubectl, secret: str) -> None:
    assert kubectl("qhdc", "get", "secret", secret)[0] == 0
    line = ('"verb":"get"', '"resource":"secrets"', f'"name":"{secret}"', '"username":"operator"')
    hear(hosts, "qhdc-cp1", "kube-apiserver", *line)
    word = base64.b64encode(MARKER.encode()).decode()
    command = f"journalctl -u qhs-kube-apiserver --since -10min | grep -c -e {MARKER} -e {shlex.quote(word)} || true"
    assert hosts.say(command, ["qhdc-cp1"]) == {"qhdc-cp1": "0"}


def test_a_pod_that_asks_for_more_than_it_may_is_refused(kubectl: Kubectl) -> None:
    code, said = kubectl("ndc", "run", "wild", "--image=registry/wild", "--dry-run=server")
    assert code == 1
    assert 'violates PodSecurity "restricted:latest"' in said


def test_a_lost_certificate_comes_again_and_no_part_notices(hosts: Hosts, kubectl: Kubectl) -> None:
    """The key with it; whoever asks for another part's is refused by the secret store."""
    file = "/var/lib/qhs-kubernetes/kube-scheduler.pem"
    serial = f"openssl x509 -noout -serial -in {file}"
    running = "systemctl show -P MainPID qhs-kube-scheduler"
    before = hosts.say(f"{serial}; {running}", ["ndc-cp1"])["ndc-cp1"].split()
    hosts.say(f"rm {file} && systemctl start qhs-kubernetes-identity", ["ndc-cp1"])
    after = hosts.say(f"{serial}; {running}", ["ndc-cp1"])["ndc-cp1"].split()
    assert (before[0] != after[0], before[1]) == (True, after[1])


def test_a_control_plane_that_is_killed_comes_again(hosts: Hosts, kubectl: Kubectl) -> None:
    hosts.say("systemctl kill --signal KILL qhs-kube-apiserver qhs-kube-scheduler qhs-etcd", ["ndc-cp1"])
    await_(lambda: kubectl("ndc", "get", "--raw", "/readyz") == (0, "ok"), 60)
