"""The processes that have the device open. Each keeps a session of every token: a login is slow and rare."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import PyKCS11

sys.path.insert(0, "/usr/local/lib/qhs-hsm")
from device import Device
from opened import Opened
from refused import RefusedError

FINAL = ("pin", "last-try", "no-key")
"""What another try would not change, or would make worse."""


@dataclass(frozen=True)
class Failure:
    """What the device said: exceptions of the library do not pass from one process to another."""

    code: str
    message: str


class Worker:
    """The device, as this process has it open."""

    def __init__(self) -> None:
        self._device: Device | None = None
        self._tokens: dict[str, Opened] = {}
        self._keys: dict[tuple[str, str], Any] = {}

    def sign(self, token: str, pin: str, label: str, algorithm: str, digest: bytes) -> bytes | Failure:
        """A signature over a digest."""
        return self._done(lambda: bytes(self._opened(token, pin).sign(self._key(token, label), algorithm, digest)))

    def prove(self, token: str, pin: str, label: str) -> bool | Failure:
        """Whether a signature of now verifies."""
        return self._done(lambda: bool(self._opened(token, pin).prove(label)))

    def _done[T](self, act: Callable[[], T]) -> T | Failure:
        """Once more with the module loaded anew, where the device has changed under it; no PIN is tried twice."""
        first = _tried(act)
        if not isinstance(first, Failure) or first.code in FINAL:
            return first
        self.close()
        return _tried(act)

    def _opened(self, token: str, pin: str) -> Opened:
        if self._device is None:
            self._device = Device.here()
        if token not in self._tokens:
            self._tokens[token] = self._device.kept_open(token, pin)
        return self._tokens[token]

    def _key(self, token: str, label: str) -> Any:
        if (token, label) not in self._keys:
            self._keys[token, label] = self._tokens[token].pair(label)
        return self._keys[token, label]

    def close(self) -> None:
        """Forget what is open; the module goes with the last that refers to it."""
        self._tokens, self._keys, self._device = {}, {}, None


def _tried[T](act: Callable[[], T]) -> T | Failure:
    try:
        return act()
    except RefusedError as refused:
        return Failure(refused.code, str(refused))
    except PyKCS11.PyKCS11Error as error:
        return Failure("device", f"the device says {error}")


@cache
def _worker() -> Worker:
    return Worker()


def sign(token: str, pin: str, label: str, algorithm: str, digest: bytes) -> bytes | Failure:
    """What a process of the pool is asked to do."""
    return _worker().sign(token, pin, label, algorithm, digest)


def prove(token: str, pin: str, label: str) -> bool | Failure:
    """What it is asked to look whether all is well."""
    return _worker().prove(token, pin, label)
