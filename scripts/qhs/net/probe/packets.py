"""One packet's fate: open, rejected, dropped, without a route or a wire. Each told apart, in both families."""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from qhs.net.probe.listener import GREETING


class Fate(StrEnum):
    """What became of a packet."""

    OPEN = "open"
    REJECT = "reject"
    DROP = "drop"
    NO_ROUTE = "no-route"
    NO_WIRE = "no-wire"
    """The place itself is cut off: its own address or its neighbour is gone, and nothing was sent."""


_REJECTED = {errno.ECONNREFUSED, errno.EACCES, errno.EPERM, errno.ECONNRESET}
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH}
ICMP, ICMPV6 = socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6
_REQUEST = {ICMP: 8, ICMPV6: 128}
_REPLY = {ICMP: 0, ICMPV6: 129}
_UNREACHABLE = {ICMP: 3, ICMPV6: 1}
_PROHIBITED = {ICMP: (9, 10, 13), ICMPV6: (1, 5, 6)}
_HEADER = {ICMP: 20, ICMPV6: 40}
"""Bytes of an IP header without options, as it stands before the packet that an error is about."""


@dataclass(frozen=True, slots=True)
class Order:
    """A packet to send: from where, to where, and who is to answer it."""

    namespace: Path
    protocol: str
    source: str
    address: str
    port: int = 0
    """Of TCP and UDP."""
    ours: bool = True
    """A listener of the probe is there. A service answers as it likes: a TCP handshake, or any datagram, is open."""


def fate_of(error: OSError) -> Fate:
    """What an error of a socket says about its packet. Raises errors that say nothing."""
    if error.errno in _REJECTED:
        return Fate.REJECT
    if error.errno in _NO_ROUTE:
        return Fate.NO_ROUTE
    if error.errno == errno.EADDRNOTAVAIL:
        return Fate.NO_WIRE
    raise error


class Connection:
    """A TCP connection on its way to be open. Make it inside the namespace that it must leave from."""

    def __init__(self, order: Order) -> None:
        self.sock = _socket(order, socket.SOCK_STREAM)
        self.reads = False
        self._ours = order.ours
        error = self.sock.connect_ex((order.address, order.port))
        if error not in (0, errno.EINPROGRESS):
            self.sock.close()
            raise OSError(error, os.strerror(error))

    def step(self) -> Fate | None:
        """Something happened; None: more has to."""
        if self.reads:
            return Fate.OPEN if self.sock.recv(len(GREETING)) == GREETING else Fate.REJECT
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        self.reads = True
        return None if self._ours else Fate.OPEN


class Datagram:
    """A datagram that is to be answered. Make it inside the namespace that it must leave from."""

    reads = True

    def __init__(self, order: Order) -> None:
        self.sock = _socket(order, socket.SOCK_DGRAM)
        self._ours = order.ours
        asked, self._mark = question(order.port)
        try:
            self.sock.connect((order.address, order.port))
            self.sock.send(asked)
        except OSError:
            self.sock.close()
            raise

    def step(self) -> Fate | None:
        """Something happened."""
        return Fate.OPEN if self._mark in self.sock.recv(512) or not self._ours else Fate.REJECT


def _socket(order: Order, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in order.address else socket.AF_INET, kind)
    sock.setblocking(False)
    try:
        sock.bind((order.source, 0))
    except OSError:
        sock.close()
        raise
    return sock


@dataclass
class Echoes:
    """The echoes of one namespace and family: each is told by its number, and answers by the peer they come from."""

    sock: socket.socket
    protocol: int
    _mark: int = field(default_factory=lambda: int.from_bytes(os.urandom(2)))
    _sent: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, order: Order) -> Echoes:
        """Make it inside the namespace that they must leave from."""
        family, protocol = (socket.AF_INET6, ICMPV6) if ":" in order.address else (socket.AF_INET, ICMP)
        sock = socket.socket(family, socket.SOCK_RAW, protocol)
        sock.setblocking(False)
        return cls(sock, protocol)

    def send(self, order: Order) -> int:
        """Its number. Python has no way to name a source beside each message, so the namespace's own route chooses."""
        number = len(self._sent)
        self._sent.append(order.address)
        head = struct.pack("!BBHHH", _REQUEST[self.protocol], 0, 0, self._mark, number)
        if self.protocol == ICMP:  # of ICMPv6 the kernel makes it
            head = struct.pack("!BBHHH", _REQUEST[ICMP], 0, _checksum(head), self._mark, number)
        self.sock.sendto(head, (order.address, 0))
        return number

    def heard(self) -> tuple[int, Fate] | None:
        """An answer to one of them; None: something else."""
        data, (peer, *_) = self.sock.recvfrom(512)
        if self.protocol == ICMP:
            data = data[(data[0] & 15) * 4 :]
        kind, code = data[0], data[1]
        if kind == _UNREACHABLE[self.protocol]:
            told = self._number(data[8 + _HEADER[self.protocol] :], _REQUEST)
            fate = Fate.REJECT if code in _PROHIBITED[self.protocol] else Fate.NO_ROUTE
            return None if told is None else (told, fate)
        told = self._number(data, _REPLY)
        return (told, Fate.OPEN) if told is not None and self._sent[told] == peer else None

    def _number(self, data: bytes, kinds: dict[int, int]) -> int | None:
        if len(data) < struct.calcsize("!BBHHH"):
            return None
        kind, _, _, mark, number = struct.unpack("!BBHHH", data[:8])
        return number if (kind, mark) == (kinds[self.protocol], self._mark) and number < len(self._sent) else None


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def question(port: int) -> tuple[bytes, bytes]:
    """A datagram that a service at this port answers, and the mark that its answer bears, as an echo of it does."""
    match port:
        case 123:  # a client's request of version 4; its time of sending comes back as the origin's
            token = os.urandom(8)
            return b"\x23" + bytes(39) + token, token
        case 53:  # the name servers of the root, which ours refuse to tell
            token = os.urandom(2)
            return token + b"\x01\x00\x00\x01" + bytes(7) + b"\x00\x02\x00\x01", token
    token = os.urandom(8)
    return token, token
