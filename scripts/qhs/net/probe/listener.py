"""A listener that stands where a service is not deployed yet, behind the machine's own rules; it echoes."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator

from qhs.net.probe.vantage import Vantage


@contextlib.contextmanager
def listening(vantage: Vantage, protocol: str, addresses: tuple[str, ...], port: int) -> Iterator[None]:
    """Hold `port` on these addresses of a machine while the block runs; a port that a service holds is left to it."""
    sockets = vantage.inside(lambda: list(_bound(protocol, addresses, port)))
    over = threading.Event()
    thread = threading.Thread(target=_serve, args=(sockets, over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for sock in sockets:
            sock.close()


def _bound(protocol: str, addresses: tuple[str, ...], port: int) -> Iterator[socket.socket]:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    for address in addresses:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # in use: the service itself answers
            sock.bind((address, port))
            if kind == socket.SOCK_STREAM:
                sock.listen(64)
        sock.setblocking(False)
        yield sock


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
