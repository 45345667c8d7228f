"""One packet's fate: open, rejected, dropped, or without a route. Each told apart, in both families."""

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


_REJECTED = {errno.ECONNREFUSED, errno.EACCES, errno.EPERM, errno.ECONNRESET}
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL}


def send(protocol: str, address: str, port: int, source: str) -> Fate:
    """Send from `source` to `address`; call it inside the namespace that the packet must leave from."""
    try:
        return _tcp(address, port, source) if protocol == "tcp" else _udp(address, port, source)
    except TimeoutError:
        return Fate.DROP
    except OSError as error:
        if error.errno in _REJECTED:
            return Fate.REJECT
        if error.errno in _NO_ROUTE:
            return Fate.NO_ROUTE
        raise


def _tcp(address: str, port: int, source: str) -> Fate:
    with _socket(address, socket.SOCK_STREAM, source) as sock:
        sock.connect((address, port))
        return _asked(sock, *question("tcp", port))


def _udp(address: str, port: int, source: str) -> Fate:
    with _socket(address, socket.SOCK_DGRAM, source) as sock:
        sock.connect((address, port))
        return _asked(sock, *question("udp", port))


def _asked(sock: socket.socket, asked: bytes, mark: bytes) -> Fate:
    sock.sendall(asked)
    return Fate.OPEN if mark in sock.recv(512) else Fate.REJECT


def question(protocol: str, port: int) -> tuple[bytes, bytes]:
    """What a service at this port answers, and the mark that its answer bears, as that of a listener's echo does."""
    match protocol, port:
        case "tcp", 22:
            return b"SSH-2.0-qhs-probe\r\n", b"SSH-2.0-"
        case "udp", 123:  # a client's request of version 4; its time of sending comes back as the origin's
            token = os.urandom(8)
            return b"\x23" + bytes(39) + token, token
        case _, 53:  # the name servers of the root, which ours refuse to tell
            token = os.urandom(2)
            query = token + b"\x01\x00\x00\x01" + bytes(7) + b"\x00\x02\x00\x01"
            return (query if protocol == "udp" else len(query).to_bytes(2) + query), token
    token = os.urandom(8)
    return token, token


def _socket(address: str, kind: socket.SocketKind, source: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.settimeout(TIMEOUT)
    sock.bind((source, 0))
    return sock
