"""One packet's fate: open, rejected, dropped, without a route or a wire. Each told apart, in both families."""

from __future__ import annotations

import errno
import os
import socket
from enum import StrEnum

TIMEOUT = 1.0
"""Seconds after which an unanswered packet counts as dropped; a round trip in the twin takes about 1 ms."""


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


def send(protocol: str, address: str, port: int, source: str, *, echo: bool = True) -> Fate:
    """Send from `source` to `address`; call it inside the namespace that the packet must leave from.

    Without `echo` a service of its own is there, which answers as it likes: a TCP handshake, or any datagram, is open.
    """
    try:
        return _tcp(address, port, source, echo) if protocol == "tcp" else _udp(address, port, source, echo)
    except TimeoutError:
        return Fate.DROP
    except OSError as error:
        if error.errno in _REJECTED:
            return Fate.REJECT
        if error.errno in _NO_ROUTE:
            return Fate.NO_ROUTE
        if error.errno == errno.EADDRNOTAVAIL:
            return Fate.NO_WIRE
        raise


def _tcp(address: str, port: int, source: str, echo: bool) -> Fate:
    token = os.urandom(8)
    with _socket(address, socket.SOCK_STREAM, source) as sock:
        sock.connect((address, port))
        if not echo:
            return Fate.OPEN
        sock.sendall(token)
        return Fate.OPEN if sock.recv(len(token)) == token else Fate.REJECT


def _udp(address: str, port: int, source: str, echo: bool) -> Fate:
    asked, mark = question(port)
    with _socket(address, socket.SOCK_DGRAM, source) as sock:
        sock.connect((address, port))
        sock.send(asked)
        return Fate.OPEN if mark in sock.recv(512) or not echo else Fate.REJECT


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


def _socket(address: str, kind: socket.SocketKind, source: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.settimeout(TIMEOUT)
    sock.bind((source, 0))
    return sock
