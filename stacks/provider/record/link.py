"""A connection to an authority for names: DNS messages on a stream that ssh carries."""

from __future__ import annotations

import select
import socket
import subprocess
from pathlib import Path

USER = "qhs-names"
AUTHORITY = "127.0.0.53:53"
"""Where an authority takes updates: on its own machine alone, so that whoever sends one has come in by SSH."""
TIMEOUT = 30
"""Seconds for one answer."""
# At the level INFO ssh says why the far end could not be reached.
OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "ControlPath=none", "-o", "LogLevel=INFO")


class LinkError(Exception):
    """The connection is no more; says why."""


class Link:
    """A connection; `program` carries it, and says why where it fails."""

    def __init__(self, stream: socket.socket, program: subprocess.Popen[str] | None = None) -> None:
        self._stream, self._program = stream, program
        stream.settimeout(TIMEOUT)

    @classmethod
    def over_ssh(cls, config: Path, machine: str) -> Link:
        """To the authority on a machine that an OpenSSH configuration names."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = ["ssh", "-F", str(config), *OPTIONS, "-l", USER, "-W", AUTHORITY, "--", machine]
            end = theirs.fileno()
            program = subprocess.Popen(command, stdin=end, stdout=end, stderr=subprocess.PIPE, text=True)
        return cls(ours, program)

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
        """What the program had to say, if anything."""
        self._stream.close()
        program, self._program = self._program, None
        if program is None:
            return ""
        try:
            said = program.communicate(timeout=5)[1]
        except subprocess.TimeoutExpired:
            program.kill()
            said = program.communicate()[1]
        return "; ".join(line.strip() for line in said.splitlines() if line.strip())

    def _end(self, error: OSError | None = None) -> str:
        return self.close() or (str(error) if error else "it closed the connection")
