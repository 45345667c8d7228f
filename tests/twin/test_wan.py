"""Two carriers join the sites: one takes over for the other, and nothing passes at either but tunnels."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise, permutations

import pytest

from qhs.net.probe.vantage import vantages
from qhs.twin import inside, wires
from qhs.twin.names import Twin
from stacks.model import load
from tests.pace import Pace
from tests.twin.conftest import MEASURED, Run
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
CARRIERS = tuple(ESTATE.inventory.carriers)
FIREWALLS = [name for site in ESTATE.active_sites for name in ESTATE.firewalls(site)]
# The port for keys of time: it is allowed between the sites, and nobody listens there.
CLIENT, SERVER, SERVICE, PORT = "qhdc.infra", "ndc.infra", "time", 4460
TUNNEL = re.compile(
    r"^  pair-(\S+?)-(carrier-\w+): #\d+, reqid \d+, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-256$", re.M
)
EVERY = {(*sites, carrier) for sites in permutations(ESTATE.active_sites, 2) for carrier in CARRIERS}
MARK = b"what-nobody-at-a-carrier-may-read"
EVERY_MS, AT_MOST, NO_GAP, WITHIN = 20, 5, 1, 15  # the rest in seconds
IKE_OR_ESP = {500, 4500}
ARP, IPV4, IPV6, UDP, ICMPV6 = 0x0806, 0x0800, 0x86DD, 17, 58


def tunnels(hosts: Hosts) -> set[tuple[str, str, str]]:
    """The tunnels of the pairs that are there, by site, other site and carrier."""
    said = hosts.say("swanctl --list-sas", FIREWALLS)
    return {(ESTATE.machines[name].site, *found) for name in FIREWALLS for found in TUNNEL.findall(said[name])}


def all_there(hosts: Hosts) -> bool:
    return tunnels(hosts) == EVERY


@dataclass
class Stream:
    """A TCP stream between two sites that says something and is answered, all the time."""

    answered: list[float] = field(default_factory=list)

    def pause(self, start: float, end: float) -> float:
        """The longest time without an answer between two moments."""
        times = [start, *(one for one in self.answered if start < one < end), end]
        return max(later - earlier for earlier, later in pairwise(times))


@contextmanager
def streaming(twin: Twin) -> Iterator[Stream]:
    """It must not end before the block does."""
    places = {one.name: one for one in vantages(ESTATE, twin) if one.place in (CLIENT, SERVER)}
    (target,) = (
        one
        for one in ESTATE.machines.values()
        for held in one.services
        if held.service == SERVICE and one.site == "ndc"
    )
    (held,) = (one for one in target.services if one.service == SERVICE)
    at = (str(held.targets[0].ipv4.network_address), PORT)
    client = next(one for one in places.values() if one.place == CLIENT)
    stream, over, failed = Stream(), threading.Event(), list[BaseException]()

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while said := connection.recv(4096):
                connection.sendall(said)

    def talk(connection: socket.socket) -> None:
        try:
            while not over.wait(EVERY_MS / 1000):
                connection.sendall(MARK)
                if not connection.recv(len(MARK)):
                    raise ConnectionError("closed by the other side")
                stream.answered.append(time.monotonic())
        except OSError as error:
            failed.append(error)

    with ExitStack() as stack:
        listener = stack.enter_context(places[target.name].inside(lambda: socket.create_server(at)))
        server = threading.Thread(target=answer, args=(listener,), daemon=True)
        server.start()
        connection = stack.enter_context(client.inside(lambda: socket.create_connection(at, WITHIN)))
        connection.settimeout(WITHIN)
        talker = threading.Thread(target=talk, args=(connection,))
        talker.start()
        try:
            yield stream
        finally:
            over.set()
            talker.join()
    assert not failed, failed


@contextmanager
def watching(twin: Twin) -> Iterator[list[bytes]]:
    """Every frame at a carrier, while the block runs."""
    there = {one.name for one in wires.ports(twin).values() if one.bridge in CARRIERS}
    seen: list[bytes] = []
    over = threading.Event()

    def listen(sock: socket.socket) -> None:
        while not over.is_set():
            try:
                frame, (name, *_) = sock.recvfrom(2048)
            except TimeoutError:
                continue
            if name in there:
                seen.append(frame)

    with inside.call(
        twin.netns_path(), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    ) as sock:
        sock.settimeout(0.1)
        thread = threading.Thread(target=listen, args=(sock,))
        thread.start()
        try:
            yield seen
        finally:
            over.set()
            thread.join()


def kind(frame: bytes) -> str:
    """What a frame is, as far as it matters here."""
    (ethertype,) = struct.unpack_from("!H", frame, 12)
    if ethertype == ARP:
        return "arp"
    if ethertype == IPV6 and frame[20] == ICMPV6 and frame[54] in (135, 136):
        return "neighbours"
    if ethertype == IPV4 and frame[23] == UDP:
        ports = set(struct.unpack_from("!HH", frame, 14 + (frame[14] & 15) * 4))
        if ports <= IKE_OR_ESP:
            return "tunnel"
    return f"{ethertype:04x} {frame[14:60].hex()}"


def test_each_two_sites_have_a_tunnel_at_each_carrier(hosts: Hosts) -> None:
    await_(lambda: all_there(hosts))


def without(hosts: Hosts, qhs: Run, carrier: str) -> tuple[float, float]:
    """Cut a carrier, have the tunnels over the other one alone, and heal it; when it was cut, and when healed."""
    cut = time.monotonic()
    assert qhs("twin", "cut", carrier).returncode == 0
    try:
        await_(lambda: tunnels(hosts) == {one for one in EVERY if one[2] != carrier})
    finally:
        healed = time.monotonic()
        assert qhs("twin", "heal", carrier).returncode == 0
    await_(lambda: all_there(hosts))
    return cut, healed


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_stream_between_sites_outlives_a_carrier(hosts: Hosts, twin: Twin, qhs: Run, carrier: str) -> None:
    without(hosts, qhs, carrier)  # the newest tunnel is the one that is used, and that is to be lost
    with streaming(twin) as stream:
        await_(lambda: len(stream.answered) > 10)
        pace = Pace()
        cut, healed = without(hosts, qhs, carrier)
    pauses = stream.pause(cut, healed), stream.pause(healed, stream.answered[-1])
    MEASURED.append(
        "{} cut: a stream between sites stood still for {:.2f} s; healed: {:.2f} s".format(carrier, *pauses)
    )
    assert NO_GAP < pauses[0] < pace.limit(AT_MOST), "less: it was not the carrier in use"
    assert pauses[1] < pace.limit(NO_GAP)


def test_at_a_carrier_there_is_nothing_but_tunnels(hosts: Hosts, twin: Twin) -> None:
    await_(lambda: all_there(hosts))
    with watching(twin) as seen, streaming(twin) as stream:
        await_(lambda: len(stream.answered) > 10)
    kinds = {kind(frame) for frame in seen}
    assert "tunnel" in kinds
    assert kinds <= {"tunnel", "arp", "neighbours"}
    assert not [frame for frame in seen if MARK in frame]


def test_without_tunnels_nothing_passes(hosts: Hosts, twin: Twin) -> None:
    members = ESTATE.firewalls("qhdc")
    hosts.say("systemctl stop strongswan", members)
    try:
        with watching(twin) as seen, pytest.raises(OSError), streaming(twin):
            pass
    finally:
        hosts.say("systemctl start strongswan", members)
    assert {kind(frame) for frame in seen} <= {"tunnel", "arp", "neighbours"}
    await_(lambda: all_there(hosts))
