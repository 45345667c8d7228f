"""People come to applications by their names: from inside past the edge, and to voting by a way in of its own."""

from __future__ import annotations

import http.client
import json
import shlex
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from qhs.inventory import roles
from qhs.layout import client_address
from qhs.playbooks import PLAYBOOKS
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import load, service_names
from stacks.model.cloud import places
from stacks.model.ingress import EDGE, PEOPLE, VOTES, application, ways_in
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.test_canaries import running
from tests.twin.test_control_plane import SITES, Kubectl, kubectl
from tests.twin.waiting import await_

pytestmark = pytest.mark.live
__all__ = ["kubectl"]

ESTATE = load("twin")
WAYS = {site: ways_in(ESTATE, site) for site in SITES}
HOLDER, OTHER = "qhdc-app1", "qhdc-app2"
ONE, SINGLE = "xac-thuc", "hoc-vu-so"
"""Applications of the first site: of tier 1, on both of its nodes, and of tier 3, on one."""
SERVED = "qhs-ingress@ingress"
PROCESS = f"systemctl show --property=MainPID,NRestarts {SERVED} qhs-ingress@ballot-ingress"
# Each `from,to` of the arguments: whether a connection comes about.
KNOCK = """
import socket, sys
for one in sys.argv[1:]:
    own, there = one.split(",")
    try:
        socket.create_connection((there, 8443), 3, source_address=(own, 0)).close()
        print("open")
    except OSError:
        print("closed")
"""
# From the machine of the way in itself: no client of the twin stands where votes are cast.
VOTE = """
import http.client, ssl, sys
context = ssl.create_default_context(cafile="/etc/qhs/tls/ca.crt")
one = http.client.HTTPSConnection(sys.argv[1], 443, context=context, timeout=10)
one.request("GET", "/", headers={"Host": sys.argv[2]})
answer = one.getresponse()
print(answer.status, answer.read().decode())
"""
BEFORE = """
set -e
install -d -m 700 /var/lib/qhs/roles
printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' >"$0"
echo of-a-test >/etc/qhs/of-a-test
systemctl daemon-reload
systemctl enable --quiet --now qhs-sample-page.service
echo "$1" >/var/lib/qhs/roles/sample_page
"""


@pytest.fixture(scope="module")
def trusting(hosts: Hosts, second_up: WatchedUp) -> ssl.SSLContext:
    """Who believes the estate's root."""
    return ssl.create_default_context(cadata=hosts.say("cat /etc/qhs/tls/ca.crt", [HOLDER])[HOLDER])


def asked[T](twin: Twin, question: Callable[[], T]) -> T:
    """As an official at a desk."""
    return inside.call(twin.netns_path("official"), question)


def answer(address: str, name: str, context: ssl.SSLContext, host: str = "", **headers: str) -> tuple[int, bytes]:
    """What is answered at an address of a way in, called by a name; asked for another `host` than that."""
    with socket.create_connection((address, 443), timeout=20) as plain:
        one = http.client.HTTPConnection(host or name)
        one.sock = context.wrap_socket(plain, server_hostname=name)
        one.request("GET", "/?secret=1", headers=headers)
        said = one.getresponse()
        found = said.status, said.read()
        one.close()
    return found


@pytest.mark.parametrize("site", SITES)
def test_an_official_comes_to_each_application_by_its_name(
    twin: Twin, hosts: Hosts, trusting: ssl.SSLContext, site: str
) -> None:
    """In both families, at either site; the site's own names lead there."""
    way = WAYS[site][PEOPLE]
    names = " ".join(one.name for one in way.published)
    said = hosts.say(f"for one in {names}; do getent ahosts $one | cut -d ' ' -f 1 | sort -u; done", ["qhdc-db1"])
    assert sorted(said["qhdc-db1"].split()) == sorted(way.address.texts() * len(way.published))
    for number, one in enumerate(way.published):
        address = way.address.texts()[number % 2]
        status, body = asked(twin, lambda at=address, name=one.name: answer(at, name, trusting))
        assert status == 200, (one.name, body)
        assert (json.loads(body)["tenant"], json.loads(body)["site"]) == (one.tenant, site)
    moves = service_names.name(ESTATE, f"{ONE}.apps")
    status, body = asked(twin, lambda: answer(way.address.texts()[0], moves, trusting))
    assert (status, json.loads(body)["tenant"]) == (200, ONE), "whichever site has the lease, it is ready to answer"


def test_a_name_of_nobody_and_one_of_another_way_in_lead_nowhere(twin: Twin, trusting: ssl.SSLContext) -> None:
    way = WAYS["qhdc"][PEOPLE]
    for host in ("example.net", application(ESTATE, "bieu-quyet", "qhdc"), application(ESTATE, "dieu-hanh", "qhdc")):
        asking = way.address.texts()[0], application(ESTATE, ONE, "qhdc"), trusting, host
        status, page = asked(twin, lambda them=asking: answer(*them))
        assert (status, "Không có ứng dụng nào" in page.decode()) == (421, True)


@pytest.mark.parametrize("site", SITES)
def test_votes_are_cast_by_a_way_in_of_their_own(hosts: Hosts, second_up: WatchedUp, site: str) -> None:
    """By names of its own; the machine's own name for it stands in the certificate too."""
    way, holder = WAYS[site][VOTES], f"{site}-app1"
    at = f"{VOTES}.{ESTATE.domain(site)}"
    names = [application(ESTATE, one, site) for one in ("bieu-quyet", ONE)]
    said = [hosts.say(f"python3 -c {shlex.quote(VOTE)} {at} {name}", [holder])[holder] for name in names]
    assert way.tenants == {"bieu-quyet"}
    assert said[0].startswith("200 ") and json.loads(said[0].removeprefix("200 "))["tenant"] == "bieu-quyet"
    assert said[1].startswith("421 ")


def test_who_asks_is_written_down_and_the_edge_alone_says_for_whom(
    twin: Twin, hosts: Hosts, trusting: ssl.SSLContext
) -> None:
    at, name = WAYS["qhdc"][PEOPLE].address.texts()[0], application(ESTATE, ONE, "qhdc")
    edge = next(one.targets[0].texts()[0] for one in ESTATE.served("qhdc") if one.service == EDGE)
    forged = {"X-Forwarded-For": "192.0.2.1", "User-Agent": "of a test", "Accept": "*/*"}
    assert asked(twin, lambda: answer(at, name, trusting, **forged))[0] == 200
    public = inside.call(twin.netns_path("voter"), lambda: answer(edge, name, trusting, **forged))
    assert public[0] == 200, public
    official, voter = (client_address(ESTATE, client).texts()[0] for client in ("official", "voter"))

    def lines() -> list[list[str]]:
        said = hosts.say(f"journalctl --unit={SERVED} --lines=500 --output=cat", [HOLDER])[HOLDER]
        return [line.split() for line in said.splitlines() if f" {name} GET / 200 " in line]

    await_(lambda: any(line[1] == voter for line in lines()), 10)
    assert any(line[:2] == [official, official] for line in lines())
    assert {line[0] for line in lines() if line[1] == voter} <= set(ESTATE.machines["qhdc-edge1"].addresses) | {edge}
    assert not any("192.0.2.1" in line or "secret" in " ".join(line) for line in lines())


def test_pods_take_nobody_of_another_node_but_the_ingress(hosts: Hosts, kubectl: Kubectl) -> None:
    """And that one only where people are led to the application: of what runs at the other node."""
    there = {one["tenant"]: one["ip"] for one in running(kubectl, "qhdc") if one["node"] == OTHER}
    people, votes = (WAYS["qhdc"][way] for way in (PEOPLE, VOTES))
    node = ESTATE.machines[HOLDER].addresses[0]
    led = next(ip for name, ip in there.items() if name in people.tenants)
    alone = next(ip for name, ip in there.items() if name not in people.tenants | votes.tenants)
    wanted = {
        f"{people.address.texts()[0]},{led}": "open",
        f"{votes.address.texts()[0]},{led}": "closed",
        f"{node},{led}": "closed",
        f"{people.address.texts()[0]},{alone}": "closed",
        f"{votes.address.texts()[0]},{there['bieu-quyet']}": "open",
        f"{people.address.texts()[0]},{there['bieu-quyet']}": "closed",
    }
    said = hosts.say(f"python3 -c {shlex.quote(KNOCK)} {' '.join(wanted)}", [HOLDER])[HOLDER].split()
    assert dict(zip(wanted, said, strict=True)) == wanted


def test_parts_that_are_replaced_are_found_and_nobody_who_asks_hears_of_it(
    twin: Twin, hosts: Hosts, kubectl: Kubectl, trusting: ssl.SSLContext
) -> None:
    at, name = WAYS["qhdc"][PEOPLE].address.texts()[0], application(ESTATE, ONE, "qhdc")
    before = hosts.say(PROCESS, [HOLDER])
    old = {one["ip"] for one in running(kubectl, "qhdc") if one["tenant"] == ONE}
    with asking(twin, lambda: answer(at, name, trusting)[0]) as statuses:
        assert kubectl("qhdc", "rollout", "restart", "deployment/canary", f"--namespace={ONE}")[0] == 0
        code, said = kubectl("qhdc", "rollout", "status", "deployment/canary", f"--namespace={ONE}", "--timeout=180s")
        assert code == 0, said
        await_(lambda: not old & {one["ip"] for one in running(kubectl, "qhdc") if one["tenant"] == ONE}, 60)
        time.sleep(3)
    assert set(statuses) == {200} and len(statuses) > 10
    assert hosts.say(PROCESS, [HOLDER]) == before


def test_an_application_without_parts_says_so(twin: Twin, kubectl: Kubectl, trusting: ssl.SSLContext) -> None:
    at, name = WAYS["qhdc"][PEOPLE].address.texts()[0], application(ESTATE, SINGLE, "qhdc")
    copies = next(one.copies for one in places(ESTATE, "qhdc") if one.name == SINGLE)

    def scaled(to: int) -> None:
        words = ("scale", "deployment/canary", f"--namespace={SINGLE}", f"--replicas={to}")
        assert kubectl("qhdc", *words)[0] == 0

    def found() -> tuple[int, bytes]:
        return asked(twin, lambda: answer(at, name, trusting))

    scaled(0)
    try:
        await_(lambda: found()[0] == 503, 60)
        assert "tạm thời gián đoạn" in found()[1].decode()
    finally:
        scaled(copies)
    await_(lambda: found()[0] == 200, 120)


def test_what_the_page_of_before_left_is_taken_away(qhs: Run, hosts: Hosts, trusting: ssl.SSLContext) -> None:
    """As an estate has it that was brought up before: a unit that runs, files, and the record of its role."""
    assert "sample_page" not in roles(ESTATE)[HOLDER]
    unit = "/etc/systemd/system/qhs-sample-page.service"
    left = {path: ["a digest", "root", "root", "0644"] for path in (unit, "/etc/qhs/of-a-test")}
    record = json.dumps({"described": "", "files": left, "units": ["qhs-sample-page.service"], "holds": []})
    hosts.say(f"sh -c {shlex.quote(BEFORE)} {unit} {shlex.quote(record)}", [HOLDER])
    done = qhs("shell", "--", "ansible-playbook", str(PLAYBOOKS / "site.yml"), "--limit", HOLDER)
    assert done.returncode == 0, done.stdout[-3000:]
    there = f"ls {unit} /etc/qhs/of-a-test /var/lib/qhs/roles/sample_page 2>/dev/null; true"
    gone = f"{there}; systemctl show --value --property=ActiveState,LoadState qhs-sample-page.service"
    assert hosts.say(gone, [HOLDER])[HOLDER].split() == ["not-found", "inactive"]
    assert hosts.say(f"systemctl is-active {SERVED}", [HOLDER])[HOLDER] == "active"


@contextmanager
def asking(twin: Twin, question: Callable[[], int]) -> Iterator[list[int]]:
    """Again and again until the block ends: what came of it."""
    over, found = threading.Event(), list[int]()

    def ask() -> None:
        while not over.wait(0.1):
            found.append(asked(twin, question))

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(ask)
        try:
            yield found
        finally:
            over.set()
        done.result()
