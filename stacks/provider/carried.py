"""A stream to a machine, or to a program there, that ssh carries."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

# At the level INFO ssh says why the far end could not be reached; one that falls silent is given up after 15 seconds.
OPTIONS = (
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "ControlPath=none", "-o", "LogLevel=INFO"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
)
PATIENCE = 20
"""Seconds for a machine to let somebody in: one that hangs on the way gives no other sign."""
FAILED = 255
"""The exit code of ssh where it does not come in; any other is of what it ran there."""


def refused(config: Path, user: str, machine: str) -> str:
    """Why ssh does not come in to a machine; empty: it does, whatever the user may do there."""
    command = ["ssh", "-F", str(config), *OPTIONS, "-l", user, "--", machine, "true"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE} s"
    return (_words(done.stderr) or "it does not say why") if done.returncode == FAILED else ""


class Carried:
    """Our end of a stream; `program` carries it, and says why where it fails."""

    def __init__(self, stream: socket.socket, program: subprocess.Popen[str] | None = None) -> None:
        self.stream, self._program = stream, program

    @classmethod
    def to(cls, config: Path, user: str, machine: str, address: str) -> Carried:
        """To an address (`host:port`) as a machine sees it that an OpenSSH configuration names."""
        return cls._by(["ssh", "-F", str(config), *OPTIONS, "-l", user, "-W", address, "--", machine])

    @classmethod
    def talking(cls, config: Path, user: str, machine: str, words: str, inside: Sequence[str] = ()) -> Carried:
        """To a program on a machine; `inside` is the start of a command line that runs the rest elsewhere."""
        return cls._by([*inside, "ssh", "-F", str(config), *OPTIONS, "-l", user, "--", machine, words])

    @classmethod
    def _by(cls, command: list[str]) -> Carried:
        ours, theirs = socket.socketpair()
        with theirs:
            end = theirs.fileno()
            program = subprocess.Popen(command, stdin=end, stdout=end, stderr=subprocess.PIPE, text=True)
        return cls(ours, program)

    def close(self) -> str:
        """What the program had to say, if anything."""
        self.stream.close()
        program, self._program = self._program, None
        if program is None:
            return ""
        try:
            said = program.communicate(timeout=5)[1]
        except subprocess.TimeoutExpired:
            program.kill()
            said = program.communicate()[1]
        return _words(said)


def _words(said: str) -> str:
    return "; ".join(line.strip() for line in said.splitlines() if line.strip())
