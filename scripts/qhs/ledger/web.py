"""A connection to an application that keeps nobody waiting longer than it is told."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

from qhs.ledger.database import TryError
from qhs.ledger.tries import Wrong

HTTPS = 443


class Connection:
    """Moments until which it waits are those of `time.monotonic`. Raises TryError."""

    def __init__(self, address: str, name: str, trusts: ssl.SSLContext, deadline: float) -> None:
        self._http = http.client.HTTPConnection(name)
        self._http.auto_open = 0  # by a name that this host's own resolver knows
        try:
            plain = socket.create_connection((address, HTTPS), _left(deadline))
        except OSError as error:
            raise _failure(error, deadline) from None
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wire = plain.dup()
        try:
            with self._bounded(deadline):
                self._http.sock = trusts.wrap_socket(plain, server_hostname=name)
        except OSError as error:
            self.close()
            raise _failure(error, deadline) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()
        self._wire.close()

    @property
    def open(self) -> bool:
        """The other side may end it with an answer."""
        return self._http.sock is not None

    def ask(self, verb: str, path: str, key: str, deadline: float) -> dict[str, Any]:
        """What it answers, by JSON."""
        try:
            with self._bounded(deadline):
                self._http.request(verb, path, headers={"Authorization": f"Bearer {key}"})
                answer = self._http.getresponse()
                said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise _failure(error, deadline) from None
        if answer.status != http.HTTPStatus.OK:
            text = said.decode(errors="replace") if "json" in answer.headers.get("Content-Type", "") else ""
            raise TryError(Wrong.READ_ONLY if "read-only" in text else Wrong.REFUSED, f"{answer.status} {text}")
        found: dict[str, Any] = json.loads(said)
        return found

    @contextmanager
    def _bounded(self, deadline: float) -> Iterator[None]:
        """Also for what comes bit by bit: a time-out of a socket begins anew with each."""
        timer = threading.Timer(_left(deadline), self._cut)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        with suppress(OSError):  # it ended by itself
            self._wire.shutdown(socket.SHUT_RDWR)


def _left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


def _failure(error: Exception, deadline: float) -> TryError:
    silent = isinstance(error, TimeoutError) or time.monotonic() >= deadline
    return TryError(Wrong.SILENT if silent else Wrong.CONNECTION, str(error))
