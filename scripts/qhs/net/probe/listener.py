"""A listener that stands where a service is not deployed yet, behind the machine's own rules; it echoes."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
from collections.abc import Iterator

from qhs.errors import UserError
from qhs.net.probe.vantage import Vantage


@contextlib.contextmanager
def listening(vantage: Vantage, protocol: str, addresses: tuple[str, ...], port: int) -> Iterator[frozenset[str]]:
    """Hold `port` on these addresses of a machine while the block runs; the addresses where a service holds it already.

    Those are left to the service. Raises UserError where the machine does not have an address.
    """
    sockets = vantage.inside(lambda: {one: _bound(vantage, protocol, one, port) for one in addresses})
    own = [sock for sock in sockets.values() if sock is not None]
    over = threading.Event()
    thread = threading.Thread(target=_serve, args=(own, over))
    thread.start()
    try:
        yield frozenset(address for address, sock in sockets.items() if sock is None)
    finally:
        over.set()
        thread.join()
        for sock in own:
            sock.close()


def _bound(vantage: Vantage, protocol: str, address: str, port: int) -> socket.socket | None:
    """A socket there; none where a service holds the port."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    sock.setblocking(False)
    try:
        if kind == socket.SOCK_STREAM:  # of UDP it would take a service's datagrams away
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(64)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise UserError(
            f"{vantage.name} cannot listen on {address} {protocol}/{port}: {error.strerror}", "qhs up"
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
            accepted.settimeout(1)
            accepted.sendall(accepted.recv(64))
