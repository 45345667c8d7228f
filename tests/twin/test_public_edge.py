"""The public comes in by TLS, past a filter and limits; an attack stands in both SOC logs (C-NET-07)."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest

from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.ingress import application
from tests.twin.conftest import WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.soc import hear
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
EDGES = {one.place.partition(".")[0]: one.targets[0].texts() for one in ESTATE.services if one.service == "public-edge"}
LARGEST = 60_000  # KiB, of all processes of an edge
ASKED = "cong-thong-tin"
"""An application that is public at both sites."""


@pytest.fixture
def trusting(hosts: Hosts, second_up: WatchedUp, tmp_path: Path) -> ssl.SSLContext:
    """Who believes the estate's root."""
    root = tmp_path / "root.crt"
    root.write_text(hosts.say("cat /etc/qhs/tls/ca.crt", ["qhdc-edge1"])["qhdc-edge1"])
    return ssl.create_default_context(cafile=str(root))


def asked[T](twin: Twin, question: Callable[[], T]) -> T:
    """As a voter on the Internet."""
    return inside.call(twin.netns_path("voter"), question)


def answer(
    site: str, address: str, context: ssl.SSLContext, path: str = "/", *, host: str = "", times: int = 1
) -> list[tuple[int, bytes]]:
    """What the edge of a site answers, over one connection; asked for another `host` than it was called by."""
    name = application(ESTATE, ASKED, site)
    wrapped = context.wrap_socket(socket.create_connection((address, 443), timeout=10), server_hostname=name)
    connection = http.client.HTTPConnection(host or name)
    connection.sock = wrapped
    found = []
    for _ in range(times):
        connection.request("GET", path, headers={"User-Agent": "voter", "Accept": "*/*"})
        response = connection.getresponse()
        found.append((response.status, response.read()))
    connection.close()
    return found


@pytest.mark.parametrize("site", EDGES)
def test_a_voter_comes_to_what_is_public_in_both_families_and_to_nothing_else(
    twin: Twin, trusting: ssl.SSLContext, site: str
) -> None:
    for address in EDGES[site]:
        ((status, said),) = asked(twin, lambda at=address: answer(site, at, trusting))
        assert status == 200, said
        assert (json.loads(said)["tenant"], json.loads(said)["site"]) == (ASKED, site)
        for host in (application(ESTATE, "q-cabinet", site), application(ESTATE, "bieu-quyet", site), "example.net"):
            assert asked(twin, lambda at=address, one=host: answer(site, at, trusting, host=one))[0][0] == 421


@pytest.mark.parametrize("site", EDGES)
def test_an_attack_is_refused_and_in_both_soc_logs_within_half_a_minute(
    twin: Twin, hosts: Hosts, trusting: ssl.SSLContext, site: str
) -> None:
    """With the rule that it broke; what only looks odd passes."""
    mark = uuid4().hex
    asking = [f"/?{mark}=" + quote(text) for text in ("1' OR '1'='1", "<script>alert(1)</script>", "tôi là ai? 1 = 1")]
    statuses = [asked(twin, lambda at=path: answer(site, EDGES[site][0], trusting, at))[0][0] for path in asking]
    assert statuses == [403, 403, 200]
    edge = f"{site}-edge1"
    for rule in ('[id "942100"]', '[id "941100"]', "Access denied with code 403"):
        hear(hosts, edge, "nginx", mark, rule)


def test_who_asks_too_often_is_put_off_and_served_again(twin: Twin, trusting: ssl.SSLContext) -> None:
    """An application takes its time to answer; so what comes too often asks for what is nowhere."""
    at = EDGES["qhdc"][0]
    often = asked(twin, lambda: answer("qhdc", at, trusting, host="example.net", times=150))
    assert {status for status, _ in often} == {421, 429}
    await_(lambda: asked(twin, lambda: answer("qhdc", at, trusting))[0][0] == 200, 10)


def test_old_tls_is_refused(twin: Twin, trusting: ssl.SSLContext) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        trusting.minimum_version = ssl.TLSVersion.TLSv1
        trusting.maximum_version = ssl.TLSVersion.TLSv1_1
    trusting.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        asked(twin, lambda: answer("qhdc", EDGES["qhdc"][0], trusting))


def test_a_new_certificate_is_shown_without_a_restart(twin: Twin, hosts: Hosts, trusting: ssl.SSLContext) -> None:
    edge = "qhdc-edge1"

    def presented() -> bytes | None:
        name = application(ESTATE, ASKED, "qhdc")
        raw = socket.create_connection((EDGES["qhdc"][0], 443), timeout=10)
        with trusting.wrap_socket(raw, server_hostname=name) as wrapped:
            return wrapped.getpeercert(binary_form=True)

    process = "systemctl show --property=MainPID qhs-public-edge"
    before, shown = hosts.say(process, [edge]), asked(twin, presented)
    hosts.say("/usr/local/sbin/qhs-pki renew --now", [edge])
    await_(lambda: asked(twin, presented) not in (None, shown), 10)
    assert hosts.say(process, [edge]) == before


def test_an_edge_takes_little(hosts: Hosts, second_up: WatchedUp) -> None:
    command = "cat $(pgrep -f 'nginx' | sed 's|.*|/proc/&/smaps_rollup|') | grep ^Pss:"
    for name, said in hosts.say(command, ["qhdc-edge1", "ndc-edge1"]).items():
        assert sum(int(line.split()[1]) for line in said.splitlines()) < LARGEST, (name, said)
