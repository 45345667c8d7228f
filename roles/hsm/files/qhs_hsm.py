#!/usr/bin/python3
"""The provisioning API of an HSM's host: an SSH forced command before the device's PKCS#11 module.

It takes a verb, and on standard input one JSON object with exactly what the verb names; so no PIN is ever in an
argument or an environment. Answers are one line of JSON; an error is {"error": {"code", "message"}} with exit code 1.
`many` takes one such object a line, each with its `verb`, and answers each with a line, until its input ends.
"""

import json
import os
import re
import sys
import syslog
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import PyKCS11
from attributes import CURVES, SIZES, USES
from device import Device, answers
from opened import Opened
from refused import RefusedError

LARGEST = 64 * 1024
SOON = 30
"""Seconds for which who is measured waits for the others."""
REHEARSAL = "rehearsal-"
"""How the label of a token begins that may be taken away again: it is of a rehearsal, and nobody's."""
_LABEL, _PIN, _HEX = r"[a-z0-9][a-z0-9.-]{0,31}", r"[!-~]{16,64}", r"([0-9a-f]{2})+"
FIELDS = {
    **dict.fromkeys(("token", "label", "device_name"), _LABEL),
    **dict.fromkeys(("pin", "so_pin", "new_pin"), _PIN),
    **dict.fromkeys(("public", "wrapped", "certificate"), _HEX),
    "subject": r"[^\x00-\x1f/=]{1,64}(/[^\x00-\x1f/=]{1,64}){0,2}",
    "algorithm": "|".join((*CURVES, *SIZES)),
    "begin": r"[0-9]{10}(\.[0-9]{1,7})?",
    "seconds": r"[1-9]|[12][0-9]|30",
    "use": "|".join(USES),
}


def main() -> int:
    """Runs one verb, or many. Returns the exit code."""
    os.umask(0o077)
    output = answers()
    words = os.environ.get("SSH_ORIGINAL_COMMAND", " ".join(sys.argv[1:])).split()
    if words == ["many"]:
        while line := sys.stdin.buffer.readline(LARGEST + 1):
            given = _parsed(line) or {}
            words = [str(given.pop("verb", ""))]
            print(json.dumps(answered(words, given)), file=output, flush=True)
            if not line.endswith(b"\n"):
                return 1  # what follows is the rest of it, and no request
        return 0
    answer = answered(words, None)
    print(json.dumps(answer), file=output)
    return 1 if "error" in answer else 0


def answered(words: list[str], given: dict[str, Any] | None) -> dict[str, Any]:
    """What one verb says, whatever becomes of it."""
    answer: dict[str, Any]
    try:
        answer = run(words, given)
    except RefusedError as refused:
        answer = _error(refused.code, str(refused))
    except PyKCS11.PyKCS11Error as error:
        answer = _error("device", f"the device says {error}")
    except OSError as error:
        answer = _error("failed", f"{error.filename or 'system'}: {error.strerror}")
    said = answer["error"]["message"] if "error" in answer else "done"
    syslog.syslog(syslog.LOG_AUTH | syslog.LOG_NOTICE, f"{' '.join(words)[:40]!r}: {said}")
    return answer


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def run(words: list[str], given: dict[str, Any] | None) -> dict[str, Any]:
    """Takes one verb, and nothing else; reads what it takes, unless that is given.

    Each loads the module anew, which takes it some milliseconds: SoftHSM sees no token that another process made since.
    """
    if len(words) != 1 or words[0] not in VERBS:
        raise RefusedError("usage", f"found {' '.join(words)[:40]!r}; wanted one of {', '.join(VERBS)}")
    names, verb = VERBS[words[0]]
    if given is None:
        given = _received() if names else {}
    if given.keys() != set(names):
        raise RefusedError("usage", f"{words[0]} takes {', '.join(names)}; found {', '.join(sorted(given))}")
    for name, value in given.items():
        if not isinstance(value, str) or not re.fullmatch(FIELDS[name], value):
            raise RefusedError("input", f"{name}: wanted text that matches {FIELDS[name]}")
    return verb(Device.here(), **given)


def _received() -> dict[str, Any]:
    given = _parsed(sys.stdin.buffer.read(LARGEST + 1))
    if given is None:
        raise RefusedError("input", f"wanted one JSON object of at most {LARGEST} bytes")
    return given


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        given = json.loads(text) if len(text) <= LARGEST else None
    except ValueError:
        return None
    return given if isinstance(given, dict) else None


def tokens(device: Device) -> dict[str, Any]:
    """Needs no PIN."""
    return {"device": device.told(), "tokens": device.tokens()}


def make_token(device: Device, token: str, so_pin: str, pin: str) -> dict[str, Any]:
    """One that is there already must open with this PIN."""
    return {"made": device.make_token(token, so_pin, pin)}


def remove_token(device: Device, token: str, so_pin: str) -> dict[str, Any]:
    """Of a rehearsal; any other stays, whoever asks."""
    if not token.startswith(REHEARSAL):
        raise RefusedError("kept", f"{token}: found a token that is kept; wanted one of a rehearsal, {REHEARSAL}*")
    return {"removed": device.remove_token(token, so_pin)}


def change_pin(device: Device, token: str, pin: str, new_pin: str) -> dict[str, Any]:
    """Sessions that are open stay so."""
    with device.opened(token, pin) as opened:
        opened.change_pin(pin, new_pin)
    return {"changed": True}


def measure(device: Device, token: str, pin: str, label: str, *, begin: str, seconds: str) -> dict[str, Any]:
    """How many signatures of a key this process gets in that time; `begin`: when, as others that are measured too."""
    opened = device.kept_open(token, pin)
    pair, count = opened.pair(label), 0
    if not 0 <= (ahead := float(begin) - time.time()) <= SOON:
        raise RefusedError("moment", f"found a moment {ahead:+.1f} s from now; wanted one in the next {SOON} s")
    time.sleep(ahead)
    end = time.monotonic() + int(seconds)
    while time.monotonic() < end:
        opened.sign(pair, "sha256", os.urandom(32))
        count += 1
    return {"signatures": count}


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


def take_certificate(opened: Opened, label: str, certificate: str) -> dict[str, Any]:
    """Of the key of this label, which the certificate must be for."""
    return {"made": opened.take_certificate(label, bytes.fromhex(certificate))}


# What each verb takes, and who it is; all of it are strings.
VERBS: dict[str, tuple[tuple[str, ...], Callable[..., dict[str, Any]]]] = {
    "tokens": ((), tokens),
    "make-token": (("token", "so_pin", "pin"), make_token),
    "remove-token": (("token", "so_pin"), remove_token),
    "change-pin": (("token", "pin", "new_pin"), change_pin),
    "measure": (("token", "pin", "label", "begin", "seconds"), measure),
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
            "request": (("label", "subject"), lambda opened, **given: {"request": opened.request(**given).hex()}),
            "take-certificate": (("label", "certificate"), take_certificate),
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
