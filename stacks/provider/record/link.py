"""A connection to an authority for names: DNS messages on a stream that ssh carries."""

from __future__ import annotations

import select
import socket
from pathlib import Path

from stacks.provider.carried import Carried

USER = "qhs-names"
AUTHORITY = "127.0.0.53:53"
"""Where an authority takes updates: on its own machine alone, so that whoever sends one has come in by SSH."""
TIMEOUT = 30
"""Seconds for one answer."""


class LinkError(Exception):
    """The connection is no more; says why."""


class Link:
    """A connection."""

    def __init__(self, carried: Carried) -> None:
        self._carried, self._stream = carried, carried.stream
        self._stream.settimeout(TIMEOUT)

    @classmethod
    def over_ssh(cls, config: Path, machine: str) -> Link:
        """To the authority on a machine that an OpenSSH configuration names."""
        return cls(Carried.to(config, USER, machine, AUTHORITY))

    @property
    def open(self) -> bool:
        """An authority ends a connection on which nobody asks for some seconds."""
        if not select.select([self._stream], [], [], 0)[0]:
            return True
        try:
            return self._stream.recv(1, socket.MSG_PEEK) != b""
        except OSError:
            return False

    def send(self, message: bytes) -> None:
        """Raises LinkError."""
        try:
            self._stream.sendall(len(message).to_bytes(2) + message)
        except OSError as error:
            raise LinkError(self._end(error)) from None

    def receive(self) -> bytes:
        """The next message. Raises LinkError."""
        return self._whole(int.from_bytes(self._whole(2)))

    def _whole(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            try:
                part = self._stream.recv(size - len(found))
            except OSError as error:
                raise LinkError(self._end(error)) from None
            if not part:
                raise LinkError(self._end())
            found += part
        return found

    def close(self) -> str:
        """What there is to say about its end, if anything."""
        return self._carried.close()

    def _end(self, error: OSError | None = None) -> str:
        return self.close() or (str(error) if error else "it closed the connection")
