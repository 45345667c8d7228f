"""Many packets in flight at once, out of many namespaces, in one loop: one that is dropped costs nothing but time."""

from __future__ import annotations

import os
import resource
import selectors
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from qhs.net.probe.packets import Connection, Datagram, Echoes, Fate, Order, fate_of

TIMEOUT = 1.0
"""Seconds after which an unanswered packet counts as dropped; a round trip in the twin takes about 1 ms."""
WINDOW = 4096
"""Packets in flight: so many dropped ones take a second."""
GLANCE = 32
"""Packets that are sent before answers are looked for: their senders wait with an open connection."""
SPARE_FILES = 4096
"""For listeners, namespaces and what else is open."""


def fly(orders: Sequence[Order]) -> list[Fate]:
    """The fate of each."""
    _more_files()
    flight = _Flight(orders)
    thread = threading.Thread(target=flight.run)  # a thread that has moved is of no use to anyone else
    thread.start()
    thread.join()
    if flight.failure:
        raise flight.failure
    return [flight.fates[index] for index in range(len(orders))]


def _more_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < WINDOW + SPARE_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Flight:
    def __init__(self, orders: Sequence[Order]) -> None:
        self.fates: dict[int, Fate] = {}
        self.failure: BaseException | None = None
        self._orders = orders
        self._selector = selectors.DefaultSelector()
        self._flying: dict[int, Connection | Datagram | None] = {}
        """What has been sent; an echo has no socket of its own."""
        self._due: deque[tuple[float, int]] = deque()
        self._echoes: dict[tuple[Path, str], Echoes] = {}
        self._numbers: dict[tuple[int, int], int] = {}

    def run(self) -> None:
        by_namespace: dict[Path, list[int]] = {}
        for index, order in enumerate(self._orders):
            by_namespace.setdefault(order.namespace, []).append(index)
        try:
            for namespace, indices in by_namespace.items():
                with namespace.open() as opened:
                    os.setns(opened.fileno(), os.CLONE_NEWNET)
                self._send(indices)
            while self._flying:
                self._look()
        except BaseException as error:  # handed to the caller, whatever it is
            self.failure = error
        finally:
            for ticket in (*self._flying.values(), *self._echoes.values()):
                if ticket:
                    ticket.sock.close()
            self._selector.close()

    def _send(self, indices: Sequence[int]) -> None:
        for count, index in enumerate(indices):
            while len(self._flying) >= WINDOW:
                self._look()
            if count % GLANCE == 0:
                self._look(wait=False)
            try:
                self._launch(index, self._orders[index])
            except OSError as error:
                self.fates[index] = fate_of(error)

    def _launch(self, index: int, order: Order) -> None:
        if order.protocol == "icmp":
            echoes = self._echoes_of(order)
            self._numbers[id(echoes), echoes.send(order)] = index
            self._flying[index] = None
        else:
            ticket = Connection(order) if order.protocol == "tcp" else Datagram(order)
            event = selectors.EVENT_READ if ticket.reads else selectors.EVENT_WRITE
            self._selector.register(ticket.sock, event, index)
            self._flying[index] = ticket
        self._due.append((time.monotonic() + TIMEOUT, index))

    def _echoes_of(self, order: Order) -> Echoes:
        key = order.namespace, order.source
        if key not in self._echoes:
            self._echoes[key] = Echoes.of(order)
            self._selector.register(self._echoes[key].sock, selectors.EVENT_READ, self._echoes[key])
        return self._echoes[key]

    def _look(self, *, wait: bool = True) -> None:
        """Take what came back, then give up what is too old: in this order, however late we are."""
        left = self._due[0][0] - time.monotonic() if wait and self._due else 0
        for key, _ in self._selector.select(max(left, 0)):
            if isinstance(key.data, Echoes):
                self._hear(key.data)
            elif ticket := self._flying[key.data]:
                self._step(key.data, ticket)
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, index = self._due.popleft()
            if index in self._flying:
                self._land(index, Fate.DROP)

    def _hear(self, echoes: Echoes) -> None:
        if heard := echoes.heard():
            number, fate = heard
            index = self._numbers[id(echoes), number]
            if index in self._flying:
                self._land(index, fate)

    def _step(self, index: int, ticket: Connection | Datagram) -> None:
        try:
            fate = ticket.step()
        except OSError as error:
            fate = fate_of(error)
        if fate is not None:
            self._land(index, fate)
        else:
            self._selector.modify(ticket.sock, selectors.EVENT_READ, index)

    def _land(self, index: int, fate: Fate) -> None:
        ticket = self._flying.pop(index)
        self.fates[index] = fate
        if ticket:
            self._selector.unregister(ticket.sock)
            ticket.sock.close()
