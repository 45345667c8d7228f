"""The nodes of each site's cluster: who they are, whom they answer, and what passes to their pods and from them."""

from __future__ import annotations

import json
import shlex
import ssl
from collections.abc import Iterator
from http.client import HTTPSConnection
from ipaddress import ip_address
from pathlib import Path

import pytest

from qhs.twin import boot, inside
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.estate import WORKER
from stacks.model.images import registries
from stacks.model.kubernetes import pods
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.test_control_plane import SITES, Kubectl, kubectl, machine_root
from tests.twin.waiting import await_

pytestmark = pytest.mark.live
__all__ = ["kubectl"]

ESTATE = load("twin")
NODES = {site: ESTATE.with_role(site, WORKER) for site in SITES}
FIRST, SECOND = NODES["qhdc"]
STAND = "of-a-test"
PORT = 8443
# What containerd does for a pod: a namespace, and the plugin with the node's own settings.
SETTINGS = (
    "import json; c = json.load(open('/etc/cni/net.d/10-qhs.conflist'));"
    " print(json.dumps(c['plugins'][0] | {one: c[one] for one in ('name', 'cniVersion')}))"
)
PLUG = f"""
export CNI_CONTAINERID={STAND} CNI_NETNS=/run/netns/{STAND} CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni
plug() {{ python3 -c {shlex.quote(SETTINGS)} | CNI_COMMAND=$1 /usr/lib/cni/ptp; }}
"""
# It is no pod that the API knows, so that no policy is about it: what lets such a one through says so in the mark.
UNPOLICED = """table inet {table} {{
  chain forward {{
    type filter hook forward priority filter + 5;
    ip saddr {{ {ipv4} }} meta mark set meta mark | 0x20000
    ip daddr {{ {ipv4} }} meta mark set meta mark | 0x20000
    ip6 saddr {{ {ipv6} }} meta mark set meta mark | 0x20000
    ip6 daddr {{ {ipv6} }} meta mark set meta mark | 0x20000
  }}
}}"""
LISTEN = (
    f"import socket\nserver = socket.create_server(('::', {PORT}), family=socket.AF_INET6, dualstack_ipv6=True)\n"
    "while True:\n  one, who = server.accept(); one.send(who[0].encode()); one.close()"
)
CALL = (
    "import socket, sys\nfor one in sys.argv[1:]:\n  host, port = one.rsplit('/', 1)\n  try:\n"
    "    with socket.create_connection((host, int(port)), 3) as open:\n"
    f"      print('open', open.recv(99).decode() if int(port) == {PORT} else '')\n"
    "  except TimeoutError:\n    print('dropped')"
)


@pytest.fixture(scope="module")
def pause(qhs: Run, second_up: WatchedUp) -> str:
    """The digest of an image that every centre's registry has."""
    done = qhs("images", "promote", "pause")
    assert done.returncode == 0, done.stderr
    told = json.loads(qhs("images", "status", "pause", "--json").stdout)
    assert {one["site"]: one["is_there"] for one in told["images"]} == dict.fromkeys(SITES, True)
    return str(told["images"][0]["digest"])


def pod(name: str, image: str) -> str:
    """One that asks for nothing more than the strictest profile lets it, and comes to the zone of applications."""
    refused = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"key": "zone", "value": "app", "effect": "NoSchedule"}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "only", "image": image, "securityContext": refused}],
    }
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


@pytest.fixture(scope="module")
def addresses(hosts: Hosts) -> Iterator[dict[str, list[str]]]:
    """By node the addresses of one that stands where a pod would, and answers who asks by his address."""
    names = [FIRST.name, SECOND.name]
    serve = f"systemd-run --quiet --unit={STAND} ip netns exec {STAND} python3 -c {shlex.quote(LISTEN)}"
    said = hosts.say(f"{PLUG} ip netns add {STAND} && plug ADD && {serve}", names)
    found = {name: [one["address"].split("/")[0] for one in json.loads(text)["ips"]] for name, text in said.items()}
    ipv4, ipv6 = (", ".join(one) for one in zip(*found.values(), strict=True))
    hosts.say(f"nft {shlex.quote(UNPOLICED.format(table=STAND, ipv4=ipv4, ipv6=ipv6))}", names)
    yield found
    hosts.say(f"nft delete table inet {STAND}; {PLUG} systemctl stop {STAND}; plug DEL; ip netns delete {STAND}", names)


def call(hosts: Hosts, machine: str, *there: str, pod: bool = False) -> list[str]:
    """What comes of each `address/port`, asked from a machine or from where a pod of it would stand."""
    program = f"python3 -c {shlex.quote(CALL)} {' '.join(there)}"
    said = hosts.say(f"ip netns exec {STAND} {program}" if pod else program, [machine])
    return [line.strip() for line in said[machine].splitlines()]


@pytest.mark.parametrize("site", SITES)
def test_every_node_is_ready_and_keeps_away_what_is_not_of_its_zone(kubectl: Kubectl, site: str) -> None:
    code, said = kubectl(site, "get", "nodes", "-o", "json")
    assert code == 0, said
    found = {one["metadata"]["name"]: one for one in json.loads(said)["items"]}
    assert found.keys() == {one.name for one in NODES[site]}
    for node in NODES[site]:
        one = found[node.name]
        (ready,) = (it["status"] for it in one["status"]["conditions"] if it["type"] == "Ready")
        own = {it["address"] for it in one["status"]["addresses"] if it["type"] == "InternalIP"}
        taint = {"key": "zone", "value": node.interfaces[0].name, "effect": "NoSchedule"}
        assert (ready, own, taint in one["spec"]["taints"]) == ("True", set(node.addresses), True)


@pytest.mark.parametrize("who", ["nobody", "a machine"])
def test_an_agent_answers_nobody_without_a_certificate_of_the_cluster(twin: Twin, hosts: Hosts, who: str) -> None:
    """From the control plane's machine, which alone has a flow there; a machine's own certificate is none."""
    control = boot.group(twin, "qhdc-cp1").init()
    context = ssl.create_default_context(cadata=(machine_root(control) / "ca.crt").read_text())
    if who == "a machine":
        context.load_cert_chain(*(machine_root(control) / f"machine.{end}" for end in ("crt", "key")))

    def asked() -> int:
        connection = HTTPSConnection(FIRST.addresses[0], 10250, context=context, timeout=10)
        connection.request("GET", "/pods")
        return connection.getresponse().status

    assert inside.call(Path(f"/proc/{control}/ns/net"), asked) == 401


def test_a_node_changes_itself_alone(hosts: Hosts) -> None:
    """With its own certificate, which it cannot get for another's name."""
    own = f"/var/lib/qhs-kubernetes/kubelet-{FIRST.name}.pem"
    request = (
        "import ssl, sys; from http.client import HTTPSConnection\n"
        "context = ssl.create_default_context(cafile='/etc/qhs/tls/ca.crt')\n"
        f"context.load_cert_chain({own!r})\n"
        "for node in sys.argv[2:]:\n"
        "  c = HTTPSConnection(sys.argv[1], 6443, context=context)\n"
        '  c.request(\'PATCH\', f\'/api/v1/nodes/{node}?dryRun=All\', \'{"metadata":{"annotations":{"a":"b"}}}\','
        " {'Content-Type': 'application/merge-patch+json'})\n"
        "  answer = c.getresponse(); answer.read(); print(answer.status)"
    )
    api = json.loads(hosts.say("cat /etc/qhs/kubernetes/kubelet-api.json", [FIRST.name])[FIRST.name])
    address = api["clusters"][0]["cluster"]["server"].removeprefix("https://").rsplit(":", 1)[0]
    said = hosts.say(f"python3 -c {shlex.quote(request)} {address} {FIRST.name} {SECOND.name}", [FIRST.name])
    assert said[FIRST.name].split() == ["200", "403"]


def test_pods_have_addresses_of_their_nodes_share_and_nobody_changes_them_on_the_way(
    hosts: Hosts, addresses: dict[str, list[str]]
) -> None:
    """In both families, to another node and back: who is asked sees who asks."""
    own, other = addresses[FIRST.name], addresses[SECOND.name]
    for node in (FIRST, SECOND):
        share = pods(ESTATE, node)
        assert all(ip_address(one) in net for one, net in zip(addresses[node.name], share.both, strict=True))
    said = call(hosts, FIRST.name, *(f"{one}/{PORT}" for one in other), pod=True)
    assert said == [f"open ::ffff:{own[0]}", f"open {own[1]}"]


def test_pods_reach_what_the_flows_of_their_zone_say_and_nothing_else(
    hosts: Hosts, addresses: dict[str, list[str]]
) -> None:
    """Not the API, not the nodes, not what machines alone may: by no address and no port."""
    reached = {
        "10.16.80.17/5432": "open",
        "10.16.112.17/443": "open",
        f"{addresses[SECOND.name][0]}/{PORT + 1}": "dropped",
        "10.17.144.17/6443": "dropped",
        f"{FIRST.addresses[0]}/10250": "dropped",
        f"{SECOND.addresses[0]}/10250": "dropped",
        f"{SECOND.management.address.texts()[0]}/22": "dropped",
        "10.17.48.23/443": "dropped",
    }
    assert call(hosts, FIRST.name, *reached, pod=True) == list(reached.values())


def test_what_the_cluster_does_not_know_says_nothing_and_hears_its_node_alone(
    hosts: Hosts, addresses: dict[str, list[str]]
) -> None:
    """Not even whom its zone may speak to: whether a policy is against that, nobody has looked."""
    hosts.say(f"nft flush chain inet {STAND} forward", [FIRST.name, SECOND.name])
    try:
        other = [f"{one}/{PORT}" for one in addresses[SECOND.name]]
        assert call(hosts, FIRST.name, *other, "10.16.80.17/5432", pod=True) == ["dropped"] * 3
        own = [f"{one}/{PORT}" for one in addresses[FIRST.name]]
        assert [one.split()[0] for one in call(hosts, FIRST.name, *own)] == ["open", "open"]
    finally:
        ipv4, ipv6 = (", ".join(one) for one in zip(*addresses.values(), strict=True))
        hosts.say(f"nft {shlex.quote(UNPOLICED.format(table=STAND, ipv4=ipv4, ipv6=ipv6))}", [FIRST.name, SECOND.name])


def test_pods_are_reached_by_their_node_and_their_zone_alone(hosts: Hosts, addresses: dict[str, list[str]]) -> None:
    own = [f"{one}/{PORT}" for one in addresses[FIRST.name]]
    assert [one.split()[0] for one in call(hosts, FIRST.name, *own)] == ["open", "open"]
    for machine in ("qhdc-db1", "qhdc-cp1", "qhdc-edge1"):
        assert call(hosts, machine, own[0]) == ["dropped"]


def test_what_the_registries_have_is_signed_and_once(qhs: Run, pause: str) -> None:
    """By each centre's own signer; what has a good signature is not signed again (C-K8S-08)."""
    again = qhs("images", "promote", "pause")
    assert again.stderr.count(f"pause@{pause}: there already, signed") == len(SITES), again.stderr
    done = qhs("images", "verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = [one for one in json.loads(done.stdout)["images"] if one["digest"] == pause]
    assert {one["site"]: one["fault"] for one in found} == dict.fromkeys(SITES, "")


@pytest.mark.parametrize("site", SITES)
def test_an_image_of_the_registry_runs_on_a_node(kubectl: Kubectl, pause: str, site: str) -> None:
    """Named by its digest; the pod has an address of each family, of its node's share."""
    image = f"{registries(ESTATE)[site].name}/pause@{pause}"
    assert kubectl(site, "apply", "-f", "-", input=pod("of-a-test", image))[0] == 0
    try:
        code, said = kubectl(site, "wait", "--for=condition=Ready", "pod/of-a-test", "--timeout=90s")
        assert code == 0, said + kubectl(site, "describe", "pod", "of-a-test")[1]
        found = json.loads(kubectl(site, "get", "pod", "of-a-test", "-o", "json")[1])
        (node,) = (one for one in NODES[site] if one.name == found["spec"]["nodeName"])
        own = [ip_address(one["ip"]) for one in found["status"]["podIPs"]]
        assert [one in share for one, share in zip(own, pods(ESTATE, node).both, strict=True)] == [True, True]
    finally:
        kubectl(site, "delete", "pod", "of-a-test", "--wait=false")


def test_what_the_registry_does_not_have_runs_nowhere(kubectl: Kubectl, pause: str) -> None:
    """By whatever name of whatever place: a node asks its own registry and nobody else."""
    name, unknown = "of-nobody", f"example.net/pause@sha256:{'0' * 64}"
    assert kubectl("qhdc", "apply", "-f", "-", input=pod(name, unknown))[0] == 0
    try:
        await_(
            lambda: "not found" in kubectl("qhdc", "get", "events", f"--field-selector=involvedObject.name={name}")[1]
        )
        reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
        assert kubectl("qhdc", "get", "pod", name, "-o", reason)[1] in ("ErrImagePull", "ImagePullBackOff")
    finally:
        kubectl("qhdc", "delete", "pod", name, "--wait=false")


def test_an_agent_that_is_killed_comes_again(hosts: Hosts, kubectl: Kubectl) -> None:
    """What it tells the API of its node is renewed."""
    lease = ("get", "lease", "-n", "kube-node-lease", FIRST.name, "-o", "jsonpath={.spec.renewTime}")
    hosts.say("systemctl kill --signal KILL qhs-kubelet qhs-kube-proxy qhs-kube-router qhs-coredns", [FIRST.name])
    before = kubectl("qhdc", *lease)[1]
    await_(lambda: kubectl("qhdc", *lease)[1] != before, 60)
    running = "systemctl is-active qhs-kubelet qhs-kube-proxy qhs-kube-router qhs-coredns containerd"
    assert hosts.say(running, [FIRST.name])[FIRST.name].split() == ["active"] * 5
