"""Listeners that stand where services are not deployed yet, behind the machines' own rules.

They send a datagram back, and greet who connects with what this process alone knows.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from qhs.errors import UserError
from qhs.net.probe.vantage import Vantage

GREETING = os.urandom(8)


class Spot(NamedTuple):
    """Where to listen on a machine."""

    protocol: str
    address: str
    port: int


@contextlib.contextmanager
def listening(wanted: Mapping[Vantage, Iterable[Spot]]) -> Iterator[frozenset[tuple[Vantage, Spot]]]:
    """Hold these ports of machines while the block runs; those that a service holds already, and are left to it.

    Raises UserError where a machine does not have an address.
    """
    own: list[socket.socket] = []
    held: list[tuple[Vantage, Spot]] = []
    over = threading.Event()
    thread = threading.Thread(target=_serve, args=(own, over))
    try:
        for vantage, spots in wanted.items():
            bound = vantage.inside(partial(_all_bound, vantage, spots))
            own += [sock for sock in bound.values() if sock]
            held += [(vantage, spot) for spot, sock in bound.items() if not sock]
        thread.start()
        yield frozenset(held)
    finally:
        over.set()
        if thread.ident:
            thread.join()
        for sock in own:
            sock.close()


def _all_bound(vantage: Vantage, spots: Iterable[Spot]) -> dict[Spot, socket.socket | None]:
    return {spot: _bound(vantage, spot) for spot in spots}


def _bound(vantage: Vantage, spot: Spot) -> socket.socket | None:
    """A socket there; none where a service holds the port."""
    kind = socket.SOCK_STREAM if spot.protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET6 if ":" in spot.address else socket.AF_INET, kind)
    sock.setblocking(False)
    try:
        if kind == socket.SOCK_STREAM:  # of UDP it would take a service's datagrams away
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((spot.address, spot.port))
        if kind == socket.SOCK_STREAM:
            sock.listen(512)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise UserError(
            f"{vantage.name} cannot listen on {spot.address} {spot.protocol}/{spot.port}: {error.strerror}", "qhs up"
        ) from None
    return sock


def _serve(sockets: list[socket.socket], over: threading.Event) -> None:
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_READ)
        while not over.is_set():
            for key, _ in selector.select(timeout=0.05):
                _answer(key.fileobj)  # type: ignore[arg-type]  # every object registered above is a socket


def _answer(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side may be gone already
        if sock.type == socket.SOCK_DGRAM:
            data, peer = sock.recvfrom(64)
            sock.sendto(data, peer)
            return
        accepted, _ = sock.accept()
        with accepted:
            accepted.send(GREETING)  # never waits: nothing was sent before
