"""A part of every application runs at each of its sites, has what it is given and reaches nothing else."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stacks.model import load
from stacks.model.cloud import PART, places
from stacks.model.estate import WORKER
from tests.pace import Pace
from tests.twin.conftest import MEASURED, Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.test_control_plane import SITES, Kubectl, kubectl
from tests.twin.waiting import await_

pytestmark = pytest.mark.live
__all__ = ["kubectl"]

ESTATE = load("twin")
ALL = {site: {one.name: one for one in places(ESTATE, site)} for site in SITES}
FIRST, SECOND = (one.name for one in ESTATE.with_role("qhdc", WORKER))
CONTROL = "qhdc-cp1"
ONE, OTHER = "mail", "cu-tri"
UNBUILT = {"identity", "inference", "lake-query", "mail-relay", "media-control", "exchange-gateway", "intl-gateway"}
"""Services that applications may ask and that nobody gives yet."""
SELECTOR = ",".join(f"{key}={value}" for key, value in PART.items())
# Each address and host name of the arguments, for so many seconds: the longest that one did not say who it is.
ASK = """
import json, socket, ssl, sys, time
context = ssl.create_default_context(cafile="/etc/qhs/tls/ca.crt")
def told(address, name):
    try:
        with socket.create_connection((address, 8443), 2) as plain:
            with context.wrap_socket(plain, server_hostname=name) as tls:
                tls.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                said = b"".join(iter(lambda: tls.recv(4096), b""))
        return json.loads(said.split(b"\\r\\n\\r\\n")[1])["tenant"]
    except OSError as error:
        return repr(error)
whom, until = [one.split(",") for one in sys.argv[2:]], time.monotonic() + float(sys.argv[1])
last, longest, odd = {name: time.monotonic() for _, name in whom}, 0.0, []
while True:
    for address, name in whom:
        said = told(address, name)
        if said == name.split(".")[0]:
            last[name] = time.monotonic()
        else:
            odd = [*odd, said][-3:]
        longest = max(longest, time.monotonic() - last[name])
    if time.monotonic() > until:
        break
    time.sleep(0.2)
print(json.dumps([longest, odd]))
"""


def asked(hosts: Hosts, node: str, pods: list[dict[str, Any]], seconds: float = 0) -> tuple[float, list[str]]:
    """From a node its own pods: the longest that one did not answer by its own name, and what came instead."""
    domain = ESTATE.domain(ESTATE.machines[node].site)
    whom = [f"{one['ip']},{one['tenant']}.apps.{domain}" for one in pods if one["node"] == node]
    assert whom
    command = f"python3 -c {shlex.quote(ASK)} {seconds} {' '.join(whom)}"
    longest, odd = json.loads(hosts.say(command, [node])[node])
    return longest, odd


def running(kubectl: Kubectl, site: str) -> list[dict[str, Any]]:
    """The canaries of a site that are ready."""
    code, said = kubectl(site, "get", "pods", "--all-namespaces", f"--selector={SELECTOR}", "--output=json")
    assert code == 0, said
    found = []
    for one in json.loads(said)["items"]:
        ready = {it["type"]: it["status"] for it in one["status"].get("conditions", [])}.get("Ready") == "True"
        if ready and "deletionTimestamp" not in one["metadata"]:
            tenant, node = one["metadata"]["namespace"], one["spec"]["nodeName"]
            found.append({"tenant": tenant, "node": node, "ip": one["status"]["podIP"]})
    return found


def test_every_application_finds_what_it_is_given_and_only_where_it_is(qhs: Run, second_up: WatchedUp) -> None:
    """Its secrets, its databases and buckets by its own keys; at a site that takes no writes, none."""
    started = time.monotonic()
    done = qhs("cloud", "status", "--json")
    MEASURED.append(f"cloud status: {time.monotonic() - started:.1f} s")
    report = json.loads(done.stdout)
    assert not [one for one in report["checks"] if not one["as_wanted"]]
    assert (done.returncode, report["silent"]) == (0, {})
    assert {(one["site"], one["tenant"]) for one in report["checks"]} == {
        (site, one) for site in SITES for one in ALL[site]
    }


def test_it_reaches_what_the_model_says_and_nothing_else(qhs: Run, second_up: WatchedUp) -> None:
    """Every application of each site, every service, machine and other application of both (T-F03)."""
    started = time.monotonic()
    done = qhs("cloud", "reach", "--json")
    report = json.loads(done.stdout)
    took = time.monotonic() - started
    MEASURED.append(f"cloud reach: {report['cells']} connections, {report['open']} open, in {took:.1f} s")
    assert (done.returncode, report["wrong"], report["silent"]) == (0, [], {})
    assert {name.partition(" ")[0] for name in report["unanswered"]} <= UNBUILT


@pytest.fixture
def hole(kubectl: Kubectl) -> Iterator[None]:
    """One application says what it likes, the other hears it."""
    for name, given in ((ONE, {"egress": [{}]}), (OTHER, {"ingress": [{}]})):
        patch = json.dumps({"spec": given})
        words = ("patch", "networkpolicy", "flows", f"--namespace={name}", "--type=merge", f"--patch={patch}")
        assert kubectl("qhdc", *words)[0] == 0
    yield


def test_a_hole_in_a_fence_is_found(qhs: Run, hole: None) -> None:
    report = json.loads(qhs("cloud", "reach", "--json").stdout)
    try:
        assert report["code"] == 2
        assert any(one.startswith(f"{ONE} at qhdc reaches {OTHER} at qhdc") for one in report["wrong"]), report["wrong"]
        assert all(one.startswith(f"{ONE} at qhdc reaches ") for one in report["wrong"])
    finally:
        done = qhs("shell", "--", "pulumi", "up", "--yes", "--refresh", "-s", "twin.qhdc.cloud", "--non-interactive")
        assert done.returncode == 0 and "2 updated" in done.stdout, done.stdout[-3000:]


@pytest.mark.parametrize("site", SITES)
def test_each_answers_by_a_certificate_of_its_own_name(hosts: Hosts, kubectl: Kubectl, site: str) -> None:
    pods = running(kubectl, site)
    assert sorted(one["tenant"] for one in pods) == sorted(
        name for name, place in ALL[site].items() for _ in range(place.copies)
    )
    for node in {one["node"] for one in pods}:
        assert asked(hosts, node, pods)[1] == []


def test_applications_answer_while_the_api_is_away(hosts: Hosts, kubectl: Kubectl) -> None:
    pods = running(kubectl, "qhdc")
    hosts.say("systemctl stop qhs-kube-apiserver", [CONTROL])
    pace = Pace()
    try:
        longest, odd = asked(hosts, FIRST, pods, 15)
    finally:
        hosts.say("systemctl start qhs-kube-apiserver", [CONTROL])
    MEASURED.append(f"API of qhdc away: an application answered after {longest:.1f} s at the longest")
    assert odd == [] and longest < pace.limit(5)


def test_tier_1_answers_again_within_a_minute_after_a_node_is_gone(qhs: Run, hosts: Hosts, kubectl: Kubectl) -> None:
    """It stands on both; what stood on the one that is gone alone comes to the other."""
    await_(lambda: kubectl("qhdc", "get", "--raw", "/readyz")[0] == 0, 60)
    first = {name for name, one in ALL["qhdc"].items() if one.tier == 1 and one.copies}
    before = [one for one in running(kubectl, "qhdc") if one["tenant"] in first]
    assert {one["tenant"] for one in before if one["node"] == FIRST} == first
    pace = Pace()
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(asked, hosts, FIRST, before, 70)
        assert qhs("twin", "power-off", SECOND).returncode == 0
        longest, odd = watched.result()
    MEASURED.append(f"{SECOND} off: tier 1 answered after {longest:.1f} s at the longest")
    try:
        assert odd == [] and longest < pace.limit(5)
        await_(
            lambda: (
                len({one["tenant"] for one in running(kubectl, "qhdc")})
                == sum(1 for one in ALL["qhdc"].values() if one.copies)
            ),
            240,
        )
    finally:
        assert qhs("twin", "power-on", SECOND).returncode == 0
