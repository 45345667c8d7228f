"""Open TCP streams through whatever lies between two network namespaces: each says something and waits for its echo."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from qhs.twin import boot, inside
from qhs.twin.names import Twin

INTERVAL = 0.2  # seconds from an echo to the next byte
CONNECT_WITHIN = 10  # seconds

type Address = tuple[str, int]


def in_machine(twin: Twin, machine: str) -> Path:
    """The network namespace of a machine that runs."""
    return Path(f"/proc/{boot.group(twin, machine).init()}/ns/net")


class Streams:
    """`each` streams to every address, from one namespace to another, kept busy while the block runs."""

    def __init__(self, client: Path, server: Path, addresses: Sequence[Address], each: int, says: bytes = b"?") -> None:
        self._says = says
        self._selector = selectors.DefaultSelector()
        self._heard: dict[socket.socket, float] = {}
        self._paused: dict[socket.socket, float] = {}
        self._due: dict[socket.socket, float] = {}
        self.broken: list[str] = []
        """What ended streams."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._listeners = inside.call(server, lambda: [_listening(one) for one in addresses])
        for listener in self._listeners:
            self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._thread.start()
        try:
            for address in [one for one in addresses for _ in range(each)]:
                self._begin(inside.call(client, lambda to=address: socket.create_connection(to, CONNECT_WITHIN)))
        except OSError:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._end()

    @property
    def count(self) -> int:
        """Streams that are open."""
        return len(self._heard)

    def all_heard_since(self, moment: float) -> bool:
        """Whether every stream has had an echo after `moment` of the monotonic clock."""
        return all(heard > moment for heard in list(self._heard.values()))

    @contextlib.contextmanager
    def longest_pause(self) -> Iterator[list[float]]:
        """The longest time that any stream waited for an echo while the block ran, once it has ended."""
        found: list[float] = []
        self._paused = {}
        yield found
        found.append(max(self._paused.values()))

    def _begin(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        now = time.monotonic()
        self._heard[sock] = self._due[sock] = now
        self._selector.register(sock, selectors.EVENT_READ, self._hear)

    def _run(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(timeout=0.02):
                key.data(key.fileobj)
            now = time.monotonic()
            for sock in [one for one, due in list(self._due.items()) if due <= now]:
                del self._due[sock]
                self._try(sock, lambda one: one.send(self._says))

    def _accept(self, listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        self._selector.register(accepted, selectors.EVENT_READ, self._echo)

    def _echo(self, sock: socket.socket) -> None:
        self._try(sock, lambda one: one.send(_received(one)))

    def _hear(self, sock: socket.socket) -> None:
        if self._try(sock, _received):
            now = time.monotonic()
            self._paused[sock] = max(self._paused.get(sock, 0), now - self._heard[sock])
            self._heard[sock], self._due[sock] = now, now + INTERVAL

    def _try(self, sock: socket.socket, do: Callable[[socket.socket], object]) -> bool:
        try:
            do(sock)
        except OSError as error:
            self.broken.append(str(error))
            self._selector.unregister(sock)
            self._heard.pop(sock, None)
            return False
        return True

    def _end(self) -> None:
        self._over.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # all of them are sockets
        self._selector.close()


def _listening(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.create_server(address, family=family, backlog=256)
    listener.setblocking(False)
    return listener


def _received(sock: socket.socket) -> bytes:
    got = sock.recv(64)
    if not got:
        raise ConnectionError("closed by the other end")
    return got
