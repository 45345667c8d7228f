"""The genuine haproxy with the configuration of role `ingress`: it finds the parts of applications by genuine answers
about names, believes none without the application's certificate, and tells for whom it asks.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader

from qhs.inventory import inventory
from qhs.twin import inside
from stacks.model import load
from stacks.model.ingress import PEOPLE, VOTES
from tests.kernel.certified import certify, new_root
from tests.kernel.over_image import over_image
from tests.twin.waiting import await_

ROLES = Path(__file__).parents[2] / "roles"
PAGES = ROLES / "ingress/files"
MACHINES = inventory(load("twin"))["_meta"]["hostvars"]
GIVEN: dict[str, Any] = MACHINES["qhdc-app1"]
AT_THE_EDGE: dict[str, Any] = MACHINES["qhdc-edge1"]
WAYS = GIVEN["ingress_ways"]
NAMES = GIVEN["cluster_names_here"]
ONE, OTHER, VOTE = (f"{one}.apps.qhdc.qhs.internal" for one in ("cong-thong-tin", "q-cabinet", "bieu-quyet"))
FOLLOWS = "cong-thong-tin.apps.svc.qhs.internal"
"""The name of the first that leads to the site with the lease."""
POLL = WAYS[VOTES]["addresses"][0]
PUBLIC = AT_THE_EDGE["public_edge_addresses"][0]
EDGE, PERSON, PODS = WAYS[PEOPLE]["trusted"][0], "10.16.240.9", ("10.16.72.5", "10.16.72.6")
WITH_DEVICES = 'mount --bind /dev "$0/dev"; exec /usr/sbin/chroot "$0" "$@"'
PART = """
import http.server, json, ssl, sys
class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True
    def handle_error(self, *_):
        pass
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        told = {"part": self.server.server_address[0], "from": self.client_address[0]}
        told |= {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = Quiet((sys.argv[1], 8443), Answer)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(sys.argv[2] + "/machine.crt", sys.argv[2] + "/machine.key")
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""
KNOT = f"""
server:
    listen: {NAMES}@53
    rundir: /run
database:
    storage: /run/knot
zone:
  - domain: cluster.local
    file: /run/cluster.zone
    zonefile-load: whole
    journal-content: none
"""


@dataclass
class Site:
    """A node with its ways in, its names and parts of applications, on a root and in a network of their own."""

    root: Path
    network: Path
    pki: Path
    ending: ExitStack
    serial: int = 1
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *words: str, chroot: bool = True, **environment: str) -> subprocess.Popen[bytes]:
        within = ["unshare", "--mount", "sh", "-ec", WITH_DEVICES, str(self.root)] if chroot else []
        log = self.ending.enter_context((self.root / "run/log").open("ab"))
        said = {"stdout": log, "stderr": log, "env": os.environ | environment}
        program = subprocess.Popen(["nsenter", f"--net={self.network}", *within, *words], **said)  # type: ignore[call-overload]  # one of many forms
        self.ending.callback(program.wait)
        self.ending.callback(program.terminate)
        return program

    def serve(self, address: str, name: str) -> None:
        """A part of an application."""
        folder = self.root / f"run/{address}-{name}"
        if not folder.exists():
            certify(folder, self.pki, name)
        self.parts[address] = self.start(sys.executable, "-c", PART, address, str(folder), chroot=False)
        await_(lambda: inside.call(self.network, lambda: listens(address)), 20)

    def leave(self, address: str) -> None:
        """Without a word."""
        one = self.parts.pop(address)
        one.kill()
        one.wait()

    def tell(self, **parts: list[str]) -> None:
        """Which parts of which applications are ready."""
        self.serial += 1
        lines = [f"@ 5 SOA ns hostmaster {self.serial} 60 60 60 5", "@ 5 NS ns", f"ns 5 A {NAMES}"]
        lines += [f"front.{one.replace('_', '-')}.svc 5 A {at}" for one, all_ in parts.items() for at in all_]
        fresh = self.root / "run/cluster.new"
        fresh.write_text("$ORIGIN cluster.local.\n" + "\n".join(lines) + "\n")
        fresh.replace(self.root / "run/cluster.zone")

    def ask(
        self, name: str, at: str = WAYS[PEOPLE]["addresses"][0], source: str = PERSON, times: int = 1, **headers: str
    ) -> list[tuple[int, bytes]]:
        """Over one connection."""
        context = ssl.create_default_context(cafile=str(self.root / "etc/qhs/tls/ca.crt"))

        def asked() -> list[tuple[int, bytes]]:
            one = http.client.HTTPSConnection(at, 443, context=context, timeout=20, source_address=(source, 0))
            context.check_hostname = False  # the name of a connection is that of the address here; ours is asked for
            found = []
            for _ in range(times):
                one.request("GET", "/some?secret=1", headers={"Host": name, **headers})
                answer = one.getresponse()
                found.append((answer.status, answer.read()))
            one.close()
            return found

        return inside.call(self.network, asked)

    def status(self, name: str, **asking: Any) -> int:
        return self.ask(name, **asking)[0][0]

    def told(self, name: str, **asking: Any) -> dict[str, str]:
        """What a part was asked."""
        ((status, body),) = self.ask(name, **asking)
        assert status == 200, body
        found: dict[str, str] = json.loads(body)
        return found

    def log(self) -> str:
        return (self.root / "run/log").read_text()


def listens(address: str, port: int = 8443) -> bool:
    with suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False


def configure(root: Path) -> None:
    """As the roles do."""
    for role, folder, given in (("ingress", "ingress", GIVEN), ("public_edge", "edge", AT_THE_EDGE)):
        source, target = ROLES / role / "templates/etc/qhs" / folder, root / "etc/qhs" / folder
        target.mkdir(parents=True)
        written = Environment(loader=FileSystemLoader(source), autoescape=False)  # noqa: S701 - no HTML
        for one in source.iterdir():
            (target / one.stem).write_text(written.get_template(one.name).render(given))
    for page in PAGES.iterdir():
        (root / "etc/qhs/ingress" / page.name).write_bytes(page.read_bytes())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("node")
    addresses = [EDGE, PERSON, PUBLIC, *PODS, *(one["addresses"][0] for one in WAYS.values())]
    sixes = [AT_THE_EDGE["public_edge_addresses"][1], *(one["addresses"][1] for one in WAYS.values())]
    both = [*(f"{one}/32" for one in addresses), *(f"{one}/128" for one in sixes)]
    words = "; ".join(["ip link set lo up", *(f"ip address add {one} dev lo" for one in both)])
    with (
        over_image(folder) as root,
        subprocess.Popen(
            ["unshare", "--net", "sh", "-ec", f"{words}; echo up; exec sleep 900"], stdout=subprocess.PIPE
        ) as init,
        ExitStack() as ending,
    ):
        assert init.stdout
        assert init.stdout.readline() == b"up\n"
        ending.callback(init.kill)
        pki = new_root(folder / "pki")
        names = ["ingress.qhdc.qhs.internal", *(name for one in WAYS.values() for name in one["published"])]
        certify(root / "etc/qhs/tls", pki, "qhdc-app1", *names)
        configure(root)
        (root / "run/knot").mkdir(parents=True)
        (root / "run/knot.conf").write_text(KNOT)
        one = Site(root, Path(f"/proc/{init.pid}/ns/net"), pki, ending)
        one.tell()
        yield one


@pytest.fixture(scope="module")
def names(site: Site) -> subprocess.Popen[bytes]:
    return site.start("/usr/sbin/knotd", "-c", "/run/knot.conf")


@pytest.fixture(scope="module")
def ways(site: Site, names: subprocess.Popen[bytes]) -> dict[str, subprocess.Popen[bytes]]:
    found = {
        way: site.start(
            *("/usr/sbin/haproxy", "-Ws", "-f", "/etc/qhs/ingress/haproxy.cfg", "-p", f"/run/{way}.pid"), WAY_IN=way
        )
        for way in WAYS
    }
    await_(lambda: answers(site), 20)
    return found


def answers(site: Site) -> bool:
    try:
        return all(site.ask("nobody.example", at=one["addresses"][0]) for one in WAYS.values())
    except OSError:
        return False


def ready(site: Site, names: subprocess.Popen[bytes], **parts: list[str]) -> None:
    site.tell(**parts)
    names.send_signal(signal.SIGHUP)


def parts(site: Site) -> set[str]:
    """Those that answer."""
    return {site.told(ONE, source=EDGE)["part"] for _ in range(8)}


@contextmanager
def asking(site: Site) -> Iterator[list[int]]:
    """For one application all the while: what came of it."""
    over = threading.Event()
    found: list[int] = []

    def ask() -> None:
        while not over.is_set():
            found.append(site.status(ONE, source=EDGE))

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(ask)
        try:
            yield found
        finally:
            over.set()
        done.result()


@pytest.mark.usefixtures("ways")
def test_before_there_are_parts_it_says_so_and_a_name_of_nobody_is_no_application(site: Site) -> None:
    ((status, page),) = site.ask(ONE)
    assert (status, page) == (503, (PAGES / "away.html").read_bytes())
    ((status, page),) = site.ask("nobody.apps.qhdc.qhs.internal")
    assert (status, page) == (421, (PAGES / "unknown.html").read_bytes())
    assert site.status("dieu-hanh.apps.qhdc.qhs.internal") == 421


@pytest.mark.usefixtures("ways")
def test_who_asks_is_told_by_the_edge_alone(site: Site, names: subprocess.Popen[bytes]) -> None:
    site.serve(PODS[0], ONE)
    ready(site, names, cong_thong_tin=[PODS[0]])
    await_(lambda: site.status(ONE) == 200, 20)
    forged = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http", "X-Real-IP": "192.0.2.1"}
    forged |= {"Forwarded": "for=192.0.2.1", "X-Forwarded-Host": "x"}
    told = site.told(f"{ONE.upper()}:443", **forged)
    assert (told["part"], told["from"]) == (PODS[0], WAYS[PEOPLE]["addresses"][0])
    assert (told["x-forwarded-for"], told["x-forwarded-proto"]) == (PERSON, "https")
    assert not {"forwarded", "x-forwarded-host", "x-real-ip"} & told.keys()
    assert site.told(ONE, source=EDGE, **forged)["x-forwarded-for"] == "192.0.2.1"
    assert site.told(ONE, source=EDGE)["x-forwarded-for"] == EDGE
    told = site.told(FOLLOWS, source=EDGE)
    assert (told["part"], told["host"]) == (PODS[0], FOLLOWS)
    assert site.status(FOLLOWS.replace("cong-thong-tin", "dieu-hanh")) == 421
    assert site.status(f"{FOLLOWS}.example") == 421
    (line, *_) = [one for one in site.log().splitlines() if one.startswith(f"{EDGE} 192.0.2.1 {ONE} GET /some 200 ")]
    assert "secret" not in line


@pytest.mark.usefixtures("ways")
def test_who_has_not_the_certificate_of_the_application_is_asked_nothing(
    site: Site, names: subprocess.Popen[bytes]
) -> None:
    site.serve(PODS[1], ONE)
    ready(site, names, cong_thong_tin=[PODS[0]], q_cabinet=[PODS[1]])
    await_(lambda: f"backend {OTHER} has no server available" in site.log(), 30)
    assert site.status(OTHER) == 503
    site.leave(PODS[1])


@pytest.mark.usefixtures("ways")
def test_parts_that_come_and_go_are_found_without_a_reload(site: Site, names: subprocess.Popen[bytes]) -> None:
    """One that left in the middle of a word, and one that the cluster knows no more: nobody who asks hears of it."""
    site.serve(PODS[1], ONE)
    with asking(site) as statuses:
        ready(site, names, cong_thong_tin=list(PODS))
        await_(lambda: parts(site) == set(PODS), 20)
        site.leave(PODS[0])
        assert parts(site) == {PODS[1]}
        ready(site, names, cong_thong_tin=[PODS[1]])
        time.sleep(3)
        site.serve(PODS[0], ONE)
        ready(site, names, cong_thong_tin=list(PODS))
        await_(lambda: parts(site) == set(PODS), 20)
        ready(site, names, cong_thong_tin=[PODS[0]])
        await_(lambda: parts(site) == {PODS[0]}, 20)
        site.leave(PODS[1])
        assert parts(site) == {PODS[0]}
    assert set(statuses) == {200} and len(statuses) > 20


@pytest.mark.usefixtures("ways")
def test_who_asks_too_often_is_put_off_and_the_edge_is_not(site: Site) -> None:
    nobody = "nobody.example"
    assert {one for one, _ in site.ask(nobody, times=450)} == {421, 429}
    assert {one for one, _ in site.ask(nobody, source=EDGE, times=450)} == {421}


@pytest.mark.usefixtures("ways")
def test_the_public_comes_by_the_edge_to_what_is_public_alone(site: Site) -> None:
    """Not to what is for deputies, and not past the limits by asking for what is not there."""
    (site.root / "run/qhs-public-edge").mkdir()
    log = ["-e", "stderr", "-g", "daemon off; user root;"]
    site.start("/usr/sbin/nginx", "-c", "/etc/qhs/edge/nginx.conf", *log)
    await_(lambda: inside.call(site.network, lambda: listens(PUBLIC, 443)), 20)
    asking = {"at": PUBLIC, "User-Agent": "voter", "Accept": "*/*"}
    assert site.told(ONE, **asking)["x-forwarded-proto"] == "https"
    assert site.told(FOLLOWS, **asking)["host"] == FOLLOWS
    for name in (OTHER, VOTE, OTHER.replace("qhdc", "svc"), "nobody.example", "public-edge.qhdc.qhs.internal"):
        assert site.status(name, **asking) == 421
    assert {one for one, _ in site.ask("nobody.example", times=150, **asking)} == {421, 429}


def test_a_certificate_of_now_is_taken_while_people_ask(site: Site, ways: dict[str, subprocess.Popen[bytes]]) -> None:
    with asking(site) as statuses:
        time.sleep(1)
        ways[PEOPLE].send_signal(signal.SIGUSR2)
        time.sleep(4)
    assert set(statuses) == {200} and len(statuses) > 20


def test_voting_is_a_way_in_of_its_own(site: Site, ways: dict[str, subprocess.Popen[bytes]]) -> None:
    assert (site.status(VOTE), site.status(ONE, at=POLL)) == (421, 421)
    assert site.status(VOTE, at=POLL) == 503
    ways[PEOPLE].send_signal(signal.SIGSTOP)
    try:
        assert site.status(VOTE, at=POLL) == 503
    finally:
        ways[PEOPLE].send_signal(signal.SIGCONT)


@pytest.mark.usefixtures("ways")
def test_parts_of_before_answer_while_nobody_answers_about_names(site: Site, names: subprocess.Popen[bytes]) -> None:
    names.kill()
    names.wait()
    time.sleep(8)
    assert site.status(ONE, source=EDGE) == 200
