"""Two carriers join the sites: one takes over for the other, and nothing passes at either but tunnels."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations

import pytest

from qhs.twin import inside, outage, wires
from qhs.twin.names import Twin
from stacks.model import load
from tests.pace import Pace
from tests.twin.conftest import MEASURED, Run
from tests.twin.hosts import Hosts
from tests.twin.pairs import cut_off, holder
from tests.twin.streams import Streams, in_machine
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
CARRIERS = tuple(ESTATE.inventory.carriers)
FIREWALLS = [name for site in ESTATE.active_sites for name in ESTATE.firewalls(site)]
# The port for keys of time: it is allowed between the sites, and nobody listens there.
CLIENT, SERVER, PORT = "qhdc-infra1", "ndc-infra1", 4460
EACH = 100  # streams in a family
TUNNEL = re.compile(
    r"^  pair-(\S+?)-(carrier-\w+): #\d+, reqid \d+, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-256$", re.M
)
EVERY = {(*sites, carrier) for sites in permutations(ESTATE.active_sites, 2) for carrier in CARRIERS}
MARK = b"what-nobody-at-a-carrier-may-read"
AT_MOST, BETWEEN_SITES, NO_GAP = 5, 10, 1  # seconds that a stream may wait: without a carrier, without a firewall
IKE_OR_ESP = {500, 4500}
ARP, IPV4, IPV6, UDP, ICMPV6 = 0x0806, 0x0800, 0x86DD, 17, 58


def tunnels(hosts: Hosts) -> set[tuple[str, str, str]]:
    """The tunnels of the pairs that are there, by site, other site and carrier."""
    said = hosts.say("swanctl --list-sas", FIREWALLS)
    return {(ESTATE.machines[name].site, *found) for name in FIREWALLS for found in TUNNEL.findall(said[name])}


def all_there(hosts: Hosts) -> bool:
    return tunnels(hosts) == EVERY


def streams(twin: Twin, each: int = 1) -> Streams:
    """From one site to another, in both families; they must not end before their block does."""
    (target,) = (held.targets[0] for held in ESTATE.machines[SERVER].services if held.service == "time")
    addresses = [(one, PORT) for one in target.texts()]
    return Streams(in_machine(twin, CLIENT), in_machine(twin, SERVER), addresses, each, MARK)


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


@contextmanager
def cut(hosts: Hosts, qhs: Run, carrier: str) -> Iterator[None]:
    """Without a carrier, until the tunnels over the other one are there alone."""
    assert qhs("twin", "cut", carrier).returncode == 0
    try:
        await_(lambda: tunnels(hosts) == {one for one in EVERY if one[2] != carrier})
        yield
    finally:
        assert qhs("twin", "heal", carrier).returncode == 0


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_stream_between_sites_outlives_a_carrier(hosts: Hosts, twin: Twin, qhs: Run, carrier: str) -> None:
    with cut(hosts, qhs, carrier):
        pass
    await_(lambda: all_there(hosts))  # the newest tunnel is the one that is used, and that is to be lost
    with streams(twin) as opened:
        pace = Pace()
        with opened.longest_pause() as without, cut(hosts, qhs, carrier):
            one_way = time.monotonic()
            await_(lambda: opened.broken != [] or opened.all_heard_since(one_way))
        with opened.longest_pause() as healed:
            await_(lambda: all_there(hosts))
    MEASURED.append(f"{carrier} cut: streams between sites paused {without[0]:.2f} s; healed: {healed[0]:.2f} s")
    assert opened.broken == []
    assert NO_GAP < without[0] < pace.limit(AT_MOST), "less: it was not the carrier in use"
    assert healed[0] < pace.limit(NO_GAP)


def test_streams_between_sites_outlive_a_firewall(hosts: Hosts, twin: Twin) -> None:
    await_(lambda: all_there(hosts))
    pair = ESTATE.firewalls(ESTATE.machines[CLIENT].site)
    with streams(twin, EACH) as opened:
        first, second = holder(hosts, pair)
        cut_off(twin, opened, first, BETWEEN_SITES, "between sites")
        outage.power_on(twin, first)
    assert holder(hosts, pair) == (second, first)
    await_(lambda: all_there(hosts))


def test_at_a_carrier_there_is_nothing_but_tunnels(hosts: Hosts, twin: Twin) -> None:
    await_(lambda: all_there(hosts))
    with watching(twin) as seen, streams(twin) as opened:
        await_(lambda: opened.all_heard_since(0))
    kinds = {kind(frame) for frame in seen}
    assert "tunnel" in kinds
    assert kinds <= {"tunnel", "arp", "neighbours"}
    assert not [frame for frame in seen if MARK in frame]


def test_without_tunnels_nothing_passes(hosts: Hosts, twin: Twin) -> None:
    members = ESTATE.firewalls("qhdc")
    hosts.say("systemctl stop strongswan", members)
    try:
        with watching(twin) as seen, pytest.raises(OSError):
            streams(twin)
    finally:
        hosts.say("systemctl start strongswan", members)
    assert {kind(frame) for frame in seen} <= {"tunnel", "arp", "neighbours"}
    await_(lambda: all_there(hosts))
