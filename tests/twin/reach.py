"""Who answers whom across the edge of an island, by packets: TCP to SSH, and an echo."""

import errno
import selectors
import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from pathlib import Path

from qhs.twin import boot, inside
from qhs.twin.names import Twin
from qhs.twin.topology import Place, Topology

_SSH = 22
_WAIT = 3.5
"""Seconds for an answer: on these wires it takes one thousandth of one, and a busy machine asks twice more."""


def into(twin: Twin, topology: Topology) -> list[str]:
    """The addresses of islands that answer somebody outside of them, each as `WHO -> WHOM ADDRESS`."""
    isles, others = _split(topology)
    return _answering(_vantages(twin, others) | {"operator": twin.netns_path()}, _addresses(isles))


def out_of(twin: Twin, topology: Topology) -> list[str]:
    """Who outside answers the machines of islands, among them whoever would hold the gateway's address."""
    isles, others = _split(topology)
    targets = _addresses(others)
    targets |= {address.partition("/")[0]: "operator" for it in topology.operators for address in it.addresses}
    targets |= {str(own.network.network_address + 1): "gateway" for place in isles for _, own in place.interfaces()}
    return _answering(_vantages(twin, isles), targets)


def within(twin: Twin, topology: Topology) -> bool:
    """Whether all machines of islands answer each other, and themselves, in both families."""
    isles, _ = _split(topology)
    targets = _addresses(isles)
    return len(_answering(_vantages(twin, isles), targets)) == len(isles) * len(targets)


def _split(topology: Topology) -> tuple[list[Place], list[Place]]:
    isles: list[Place] = [machine for machine in topology.machines if machine.island]
    return isles, [*topology.managed, *topology.clients]


def _addresses(places: Iterable[Place]) -> dict[str, str]:
    return {str(own.ip): place.name for place in places for _, own in place.interfaces()}


def _vantages(twin: Twin, places: Iterable[Place]) -> dict[str, Path]:
    """The network namespace of each."""
    inits = {place.name: boot.group(twin, place.name).init() for place in places}
    return {name: Path(f"/proc/{init}/ns/net") if init else twin.netns_path(name) for name, init in inits.items()}


def _answering(vantages: dict[str, Path], targets: dict[str, str]) -> list[str]:
    tries = [(who, namespace, ask) for who, namespace in vantages.items() for ask in (connected, _echoed)]
    with ThreadPoolExecutor(len(tries)) as threads:
        answered = threads.map(lambda it: (it[0], inside.call(it[1], lambda: it[2](targets))), tries)
        return sorted({f"{who} -> {targets[address]} {address}" for who, found in answered for address in found})


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6


def connected(targets: Iterable[str]) -> set[str]:
    """Addresses that answered TCP at all: one that refuses is reachable too."""
    waiting = selectors.DefaultSelector()
    found = set()
    with ExitStack() as stack:
        for address in targets:
            one = stack.enter_context(socket.socket(_family(address), socket.SOCK_STREAM))
            one.setblocking(False)
            if one.connect_ex((address, _SSH)) == errno.EINPROGRESS:
                waiting.register(one, selectors.EVENT_WRITE, (address, one))
        deadline = time.monotonic() + _WAIT
        # Whoever was kept from looking in time still sees what has come by then.
        while waiting.get_map() and (ready := waiting.select(max(0, deadline - time.monotonic()))):
            for key, _ in ready:
                address, one = key.data
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED):
                    found.add(address)
                waiting.unregister(one)
    return found


def _echoed(targets: Iterable[str]) -> set[str]:
    """Addresses that sent an echo back."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as ipv4,
        socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as ipv6,
    ):
        waiting = selectors.DefaultSelector()
        for one in (ipv4, ipv6):
            one.setblocking(False)
            waiting.register(one, selectors.EVENT_READ)
        for address in targets:
            with suppress(OSError):  # no route: that it is out of reach is what this is to find out
                (ipv4 if _family(address) == socket.AF_INET else ipv6).sendto(_echo(address), (address, 0))
        found = set()
        deadline = time.monotonic() + _WAIT
        while ready := waiting.select(max(0, deadline - time.monotonic())):
            for key, _ in ready:
                data, (sender, *_) = key.fileobj.recvfrom(256)  # type: ignore[union-attr]  # both are sockets
                kind = data[(data[0] & 15) * 4] if key.fileobj is ipv4 else data[0]
                if kind in (_ECHO_REPLY, _ECHO_REPLY_6):
                    found.add(sender)
    return found & set(targets)


_ECHO_REPLY, _ECHO_REPLY_6 = 0, 129


def _echo(address: str) -> bytes:
    """An echo request without content; for IPv6 the kernel fills the checksum in."""
    if _family(address) == socket.AF_INET6:
        return bytes((128, 0, 0, 0, 0, 1, 0, 1))
    return bytes((8, 0, 0xF7, 0xFD, 0, 1, 0, 1))
