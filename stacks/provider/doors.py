"""A proxy of this process for libraries and programs that speak HTTPS: a few names, each by a stream that ssh carries.

TLS is between whoever asks and the far end; the names are those that its certificate is for.
"""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from stacks.provider.carried import Carried

LONGEST = 4096
"""Bytes of a request to the proxy itself."""
PATIENCE = 10
"""Seconds for one."""
_PART = 65536

type Door = Callable[[], Carried]


@contextmanager
def opened(doors: Mapping[str, Door]) -> Iterator[str]:
    """The proxy's address while the block runs; `doors` opens a stream to each `name:port`, and there is no other."""
    with _started(doors) as server:
        try:
            yield server.url
        finally:
            server.shutdown()


def always_open(doors: Mapping[str, Door]) -> str:
    """As `opened`, as long as the process lives: nothing is waited for when it ends."""
    return _started(doors).url


def always_led(door: Door) -> int:
    """A port of this machine's loopback that leads where one door does, for what speaks to no proxy."""
    return int(_listening(lambda asking: _carry(asking, door)).server_address[1])


def _started(doors: Mapping[str, Door]) -> _Server:
    return _listening(lambda asking: _serve(asking, doors))


def _listening(serve: Callable[[socket.socket], None]) -> _Server:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            serve(self.request)

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    return server


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    """What hangs in a connection ends with the process."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


def _serve(asking: socket.socket, doors: Mapping[str, Door]) -> None:
    """One connection to its end."""
    asking.settimeout(PATIENCE)
    try:
        verb, name, *_ = [*_head(asking).split(), "", ""]
    except OSError:
        return
    if verb != "CONNECT" or name not in doors:
        asking.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        return
    _carry(asking, doors[name], b"HTTP/1.1 200 Connected\r\n\r\n")


def _carry(asking: socket.socket, door: Door, first: bytes = b"") -> None:
    """Through a door until one end is gone; `first` is said as soon as it is open."""
    carried = door()
    try:
        asking.sendall(first)
        asking.settimeout(None)
        _join(asking, carried.stream)
    except OSError:
        return  # one of both is gone, and the other hears of it by the close
    finally:
        carried.close()


def _head(asking: socket.socket) -> str:
    """The first lines, up to the empty one."""
    found = b""
    while b"\r\n\r\n" not in found:
        part = asking.recv(LONGEST - len(found))
        if not part:
            raise ConnectionError("no whole request")
        found += part
    return found.decode("latin-1")


def _join(one: socket.socket, other: socket.socket) -> None:
    """Hand on what comes on either until one ends."""
    towards = {one: other, other: one}
    while True:
        for ready in select.select([one, other], [], [])[0]:
            part = ready.recv(_PART)
            if not part:
                return
            towards[ready].sendall(part)
