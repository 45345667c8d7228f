"""What leaves goes to named destinations by the proxy and nowhere else (C-NET-15)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from qhs.layout import client_address
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import load
from tests.twin.conftest import WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.soc import hear

pytestmark = pytest.mark.live

ESTATE = load("twin")
OUTSIDE = client_address(ESTATE, "web").texts()[0]
PROXY = next(
    one.targets[0].texts() for one in ESTATE.services if (one.service, one.place) == ("web-proxy", "qhdc.egress")
)
PAGE = b"a page of the Internet"
PEOPLE, SERVERS = "www.quochoi.vn", "khonggianmang.vn"
OTHERS = {
    "unnamed": "example.org:443",
    "alike": f"evil{PEOPLE.removeprefix('www.')}:443",
    "another port": f"{PEOPLE}:22",
    "an address": f"{OUTSIDE}:443",
    "named to others": f"{SERVERS}:443",
}
LARGEST = 40_000  # KiB


@pytest.fixture(scope="module")
def asked(twin: Twin, second_up: WatchedUp) -> Iterator[list[bytes]]:
    """An Internet where each name leads to one page; the names that its name server was asked for."""
    names: list[bytes] = []

    def opened() -> tuple[socket.socket, socket.socket]:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((OUTSIDE, 53))
        return server, socket.create_server((OUTSIDE, 443))

    with ExitStack() as stack:
        server, web = (stack.enter_context(one) for one in inside.call(twin.netns_path("web"), opened))
        for serve in (lambda: _answer(server, names), lambda: _show(web)):
            threading.Thread(target=serve, daemon=True).start()
        yield names
        for one in (server, web):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _answer(server: socket.socket, names: list[bytes]) -> None:
    """The address of the page, where an IPv4 one is wanted; until it is closed."""
    with suppress(OSError):
        while True:
            asked, who = server.recvfrom(2000)
            if not asked:
                return
            end = asked.index(b"\0", 12) + 5
            names.append(asked[12:end])
            found = asked[end - 4 : end - 2] == b"\0\1"
            record = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + socket.inet_aton(OUTSIDE) if found else b""
            header = asked[:2] + b"\x81\x80\0\1" + bytes([0, found]) + b"\0\0\0\0"
            server.sendto(header + asked[12:end] + record, who)


def _show(web: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = web.accept()
            with connection:
                connection.sendall(PAGE)


def through(proxy: str, destination: str) -> tuple[int, bytes]:
    """What an official's browser is told by the proxy, and what comes through it."""
    with socket.create_connection((proxy, 3128), timeout=10) as connection, connection.makefile("rb") as stream:
        connection.sendall(f"CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n\r\n".encode())
        status = int(stream.readline().split()[1])
        while stream.readline().strip():
            pass
        return status, stream.read(len(PAGE)) if status == 200 else b""


def as_official(twin: Twin, destination: str) -> list[tuple[int, bytes]]:
    """By the proxy's address in each family."""
    return inside.call(twin.netns_path("official"), lambda: [through(proxy, destination) for proxy in PROXY])


def test_a_named_destination_is_reached(twin: Twin, asked: list[bytes]) -> None:
    assert as_official(twin, f"{PEOPLE}:443") == [(200, PAGE)] * len(PROXY)
    assert any(b"\7quochoi\2vn" in one for one in asked)


def test_any_other_is_refused_without_a_question_and_in_both_soc_logs(
    twin: Twin, hosts: Hosts, asked: list[bytes]
) -> None:
    before = len(asked)
    for what, destination in OTHERS.items():
        assert {status for status, _ in as_official(twin, destination)} == {403}, what
    assert asked[before:] == []
    # Also of a client that had enough once it was refused: it reads no page, and squid calls that aborted.
    for destination in OTHERS.values():
        refused = (" TCP_DENIED", f"/403 CONNECT {destination} ")
        hear(hosts, "qhdc-egress1", "squid", *refused)


def test_servers_reach_what_is_named_to_them(hosts: Hosts, asked: list[bytes]) -> None:
    command = (
        "exec 3<>/dev/tcp/{proxy}/3128; printf 'CONNECT {name}:443 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3;"
        "head -n 1 <&3 | cut -d' ' -f2"
    )
    for name, status in ((SERVERS, "200"), (PEOPLE, "403")):
        said = hosts.say(f'bash -c "{command.format(proxy=PROXY[0], name=name)}"', ["qhdc-soc1"])
        assert said["qhdc-soc1"].strip() == status, name


def test_nobody_gets_out_beside_the_proxy(twin: Twin, asked: list[bytes]) -> None:
    def tried() -> None:
        with (
            pytest.raises(OSError, match=r"timed out|unreachable|refused"),
            socket.create_connection((OUTSIDE, 443), 3),
        ):
            pass

    inside.call(twin.netns_path("official"), tried)


def test_a_proxy_keeps_nothing_and_takes_little(hosts: Hosts, second_up: WatchedUp) -> None:
    command = "ls -A /var/spool/squid /var/log/squid; grep VmRSS /proc/$(pgrep -x squid)/status"
    for name, said in hosts.say(command, ["qhdc-egress1", "ndc-egress1"]).items():
        *folders, resident = said.splitlines()
        assert [line for line in folders if line and not line.startswith("/var/")] == [], name
        assert int(resident.split()[1]) < LARGEST, (name, resident)
