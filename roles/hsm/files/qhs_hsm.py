#!/usr/bin/python3
"""The provisioning API of an HSM's host: an SSH forced command before the device's PKCS#11 module.

It takes a verb, and on standard input one JSON object with exactly what the verb names; so no PIN is ever in an
argument or an environment. Answers are one line of JSON; an error is {"error": {"code", "message"}} with exit code 1.
"""

import json
import os
import re
import sys
import syslog
from collections.abc import Callable
from functools import partial
from typing import Any

import PyKCS11
from attributes import CURVES, SIZES, USES
from device import Device, answers
from opened import Opened
from refused import RefusedError

LARGEST = 64 * 1024
_LABEL, _PIN, _HEX = r"[a-z0-9][a-z0-9.-]{0,31}", r"[!-~]{16,64}", r"([0-9a-f]{2})+"
FIELDS = {
    **dict.fromkeys(("token", "label", "device_name"), _LABEL),
    **dict.fromkeys(("pin", "so_pin", "new_pin"), _PIN),
    **dict.fromkeys(("public", "wrapped"), _HEX),
    "algorithm": "|".join((*CURVES, *SIZES)),
    "use": "|".join(USES),
}


def main() -> int:
    """Runs one verb. Returns the exit code."""
    os.umask(0o077)
    output = answers()
    words = os.environ.get("SSH_ORIGINAL_COMMAND", " ".join(sys.argv[1:])).split()
    answer: dict[str, Any]
    try:
        answer = run(words)
    except RefusedError as refused:
        answer = _error(refused.code, str(refused))
    except PyKCS11.PyKCS11Error as error:
        answer = _error("device", f"the device says {error}")
    except OSError as error:
        answer = _error("failed", f"{error.filename or 'system'}: {error.strerror}")
    said = answer["error"]["message"] if "error" in answer else "done"
    syslog.syslog(syslog.LOG_AUTH | syslog.LOG_NOTICE, f"{' '.join(words)[:40]!r}: {said}")
    print(json.dumps(answer), file=output)
    return 1 if "error" in answer else 0


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def run(words: list[str]) -> dict[str, Any]:
    """Takes one verb, and nothing else."""
    if len(words) != 1 or words[0] not in VERBS:
        raise RefusedError("usage", f"found {' '.join(words)[:40]!r}; wanted one of {', '.join(VERBS)}")
    names, verb = VERBS[words[0]]
    given = _received() if names else {}
    if given.keys() != set(names):
        raise RefusedError("usage", f"{words[0]} takes {', '.join(names)}; found {', '.join(sorted(given))}")
    for name, value in given.items():
        if not isinstance(value, str) or not re.fullmatch(FIELDS[name], value):
            raise RefusedError("input", f"{name}: wanted text that matches {FIELDS[name]}")
    return verb(Device.here(), **given)


def _received() -> dict[str, Any]:
    text = sys.stdin.buffer.read(LARGEST + 1)
    try:
        given = json.loads(text) if len(text) <= LARGEST else None
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise RefusedError("input", f"wanted one JSON object of at most {LARGEST} bytes")
    return given


def tokens(device: Device) -> dict[str, Any]:
    """Needs no PIN."""
    return {"device": device.told(), "tokens": device.tokens()}


def make_token(device: Device, token: str, so_pin: str, pin: str) -> dict[str, Any]:
    """One that is there already must open with this PIN."""
    return {"made": device.make_token(token, so_pin, pin)}


def change_pin(device: Device, token: str, pin: str, new_pin: str) -> dict[str, Any]:
    """Sessions that are open stay so."""
    with device.opened(token, pin) as opened:
        opened.change_pin(pin, new_pin)
    return {"changed": True}


def trust(device: Device, token: str, so_pin: str, device_name: str, public: str) -> dict[str, Any]:
    """As the security officer of a token: its domain's key may go to another device."""
    with device.opened(token, so_pin, officer=True) as opened:
        return {"made": opened.trust(device_name, bytes.fromhex(public))}


def _user(act: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """As the user of a token."""

    def verb(device: Device, token: str, pin: str, **given: Any) -> dict[str, Any]:
        with device.opened(token, pin) as opened:
            return act(opened, **given)

    return verb


def _key(opened: Opened, label: str, algorithm: str, use: str, *, shared: bool) -> dict[str, Any]:
    made, key = opened.make_key(label, algorithm, use, shared=shared)
    return {"made": made, "key": key}


def take_key(opened: Opened, label: str, use: str, public: str, wrapped: str) -> dict[str, Any]:
    """From another token of the domain."""
    return {"made": opened.take_key(label, use, bytes.fromhex(public), bytes.fromhex(wrapped))}


# What each verb takes, and who it is; all of it are strings.
VERBS: dict[str, tuple[tuple[str, ...], Callable[..., dict[str, Any]]]] = {
    "tokens": ((), tokens),
    "make-token": (("token", "so_pin", "pin"), make_token),
    "change-pin": (("token", "pin", "new_pin"), change_pin),
    "trust": (("token", "so_pin", "device_name", "public"), trust),
    **{
        verb: (("token", "pin", *takes), _user(act))
        for verb, (takes, act) in {
            "keys": ((), lambda opened: {"keys": opened.told()}),
            "make-key": (("label", "algorithm", "use"), partial(_key, shared=False)),
            "make-shared-key": (("label", "algorithm", "use"), partial(_key, shared=True)),
            "take-key": (("label", "use", "public", "wrapped"), take_key),
            "wrapped": (("label",), lambda opened, label: {"wrapped": opened.wrapped(label).hex()}),
            "prove": (("label",), lambda opened, label: {"verified": opened.prove(label)}),
            "remove-key": (("label",), lambda opened, label: {"removed": opened.remove(label)}),
            "transport": ((), lambda opened: {"public": opened.transport().hex()}),
            "make-kek": ((), lambda opened: {"made": opened.make_kek()}),
            "kek-for": (("device_name",), lambda opened, device_name: {"wrapped": opened.kek_for(device_name).hex()}),
            "take-kek": (("wrapped",), lambda opened, wrapped: {"made": opened.take_kek(bytes.fromhex(wrapped))}),
        }.items()
    },
}


if __name__ == "__main__":
    sys.exit(main())
