"""A plain client of an HSM's host: verbs of its provisioning API, many on one connection. Knows nothing of Pulumi."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from stacks.provider.carried import Carried

USER = "qhs-hsm"
TALK = "many"
TIMEOUT = 60
"""Seconds for one answer; a key of 4096 bits takes some."""
QUIET = 30
"""Seconds for which a device that did not answer is not asked again: many resources ask it, one after the other."""

type Answer = dict[str, Any]


class DeviceError(Exception):
    """The API refused, or did not answer; `code` is its word for why."""

    def __init__(self, machine: str, code: str, message: str) -> None:
        super().__init__(f"{machine}: {message}")
        self.code = code


class SilentError(DeviceError):
    """It did not answer at all."""

    def __init__(self, machine: str, why: str) -> None:
        super().__init__(machine, "silent", f"it does not answer: {why}")


class _EndedError(Exception):
    """A connection is no more; says why."""


class Device:
    """The device on one machine. The connection is opened when it is asked, and kept."""

    def __init__(self, machine: str, connect: Callable[[], Carried]) -> None:
        self.machine, self._connect = machine, connect
        self._turn = threading.RLock()
        self._carried: Carried | None = None
        self._lines: Any = None
        self._silent: tuple[float, str] | None = None

    def ask(self, verb: str, **given: str) -> Answer:
        """What it answers. Raises DeviceError."""
        with self._turn:
            answer = self._asked(json.dumps({"verb": verb, **given}))
        if "error" in answer:
            raise DeviceError(self.machine, **answer["error"])
        return answer

    def _asked(self, line: str) -> Answer:
        if self._silent and time.monotonic() < self._silent[0] + QUIET:
            raise SilentError(self.machine, self._silent[1])
        if self._carried is not None:  # it may have ended while nobody asked: every verb can be asked again
            with suppress(_EndedError):
                return self._said(self._carried, line)
        self._carried = self._connect()
        self._carried.stream.settimeout(TIMEOUT)
        self._lines = self._carried.stream.makefile("r")
        try:
            return self._said(self._carried, line)
        except _EndedError as error:
            self._silent = time.monotonic(), str(error)
            raise SilentError(self.machine, str(error)) from None

    def _said(self, carried: Carried, line: str) -> Answer:
        """On the connection that there is. Raises _EndedError where it is no more, and says why."""
        try:
            carried.stream.sendall(f"{line}\n".encode())
            answer: Answer = json.loads(self._lines.readline())
        except (OSError, ValueError) as error:
            self._carried = None
            self._lines.close()
            raise _EndedError(carried.close() or str(error)) from None
        return answer
