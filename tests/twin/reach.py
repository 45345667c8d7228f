"""Who answers whom across the edge of an island, by packets: TCP to SSH, and an echo."""

import errno
import selectors
import socket
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

from qhs.twin import boot, inside
from qhs.twin.names import Twin
from qhs.twin.topology import Place, Topology

_SSH = 22
_WAIT = 1.5
"""Seconds for an answer: on these wires it takes one thousandth of one."""


def into(twin: Twin, topology: Topology) -> list[str]:
    """The addresses of islands that answer somebody outside of them, each as `WHO -> WHOM ADDRESS`."""
    isles, others = _split(topology)
    targets = _addresses(isles)
    vantages = {place.name: _namespace(twin, place) for place in others} | {"operator": twin.netns_path()}
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda it: _answering(it[0], it[1], targets), vantages.items())
        return sorted(line for lines in found for line in lines)


def out_of(twin: Twin, topology: Topology) -> list[str]:
    """Who outside answers the machines of islands, among them whoever would hold the gateway's address."""
    isles, others = _split(topology)
    targets = _addresses(others)
    targets |= {address.partition("/")[0]: "operator" for it in topology.operators for address in it.addresses}
    for place in isles:
        for _, own in place.interfaces():
            targets[str(own.network.network_address + 1)] = "gateway"
    return sorted(line for place in isles for line in _answering(place.name, _namespace(twin, place), targets))


def within(twin: Twin, topology: Topology) -> bool:
    """Whether all machines of islands answer each other."""
    isles, _ = _split(topology)
    targets = _addresses(isles)
    found = [line for place in isles for line in _answering(place.name, _namespace(twin, place), targets)]
    return len(found) == len(isles) * len(targets)


def _split(topology: Topology) -> tuple[list[Place], list[Place]]:
    isles: list[Place] = [machine for machine in topology.machines if machine.island]
    return isles, [*topology.managed, *topology.clients]


def _addresses(places: Iterable[Place]) -> dict[str, str]:
    return {str(own.ip): place.name for place in places for _, own in place.interfaces()}


def _namespace(twin: Twin, place: Place) -> Path:
    init = boot.group(twin, place.name).init()
    return Path(f"/proc/{init}/ns/net") if init else twin.netns_path(place.name)


def _answering(who: str, namespace: Path, targets: dict[str, str]) -> list[str]:
    answered = inside.call(namespace, lambda: _connected(targets)) | _echoed(namespace, targets)
    return [f"{who} -> {targets[address]} {address}" for address in answered]


def _connected(targets: Iterable[str]) -> set[str]:
    """Addresses that answered at all: one that refuses is reachable too."""
    waiting = selectors.DefaultSelector()
    found = set()
    for address in targets:
        family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
        one = socket.socket(family, socket.SOCK_STREAM)
        one.setblocking(False)
        if one.connect_ex((address, _SSH)) == errno.EINPROGRESS:
            waiting.register(one, selectors.EVENT_WRITE, address)
        else:
            one.close()
    deadline = time.monotonic() + _WAIT
    while waiting.get_map() and (left := deadline - time.monotonic()) > 0:
        for key, _ in waiting.select(left):
            one = key.fileobj
            assert isinstance(one, socket.socket)
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED):
                found.add(key.data)
            waiting.unregister(one)
            one.close()
    for key in list(waiting.get_map().values()):
        waiting.unregister(key.fileobj)
        key.fileobj.close()  # type: ignore[union-attr]
    return found


def _echoed(namespace: Path, targets: Iterable[str]) -> set[str]:
    started = [
        (address, subprocess.Popen(_ping(namespace, address), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for address in targets
    ]
    return {address for address, process in started if process.wait() == 0}


def _ping(namespace: Path, address: str) -> list[str]:
    return ["nsenter", f"--net={namespace}", "--", "ping", "-c1", "-W1", address]
