#!/usr/bin/python3 -B
"""The object store: the keys of those who may come in, and when.

    fetch  get them from the site's secret store; what no node tells stays as it was, with a line that says why
    admit  have the store, which is about to start, let in whoever has one of them, and nobody else
    more   have the store, which is about to read them again, let in more; it forgets nobody before it starts anew
    open   wait until the store can read what it holds, and have it asked from then on

What fails is a line on standard error, with exit code 1.
"""

import json
import os
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/local/lib/qhs-pki")
from secret_store import PATIENCE, AbsentError, Asking, of_any

SETTINGS = Path("/etc/qhs/objects/keys.json")
FETCHED = Path("/run/qhs-objects-keys/keys.json")
ADMITTED = Path("/run/qhs-objects/admitted.json")
SOCKET, OPEN = Path("/run/qhs-objects/s3.sock"), Path("/run/qhs-objects/open.sock")
DISKS, SETTLED = "http://127.0.0.1:9333/dir/status", 60
"""What disks the store knows of, and seconds in which it finds its own; it answers before, and takes nothing."""
FIRST = 50
"""Seconds for which it asks for the first keys: a site that is being made lets it in some time."""


class StaleError(Exception):
    """What the store knows cannot be made so while it goes on, and why."""


def fetched(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """As the store wants them, by name. Raises AbsentError."""

    at = settings["identities"]

    def identities(asking: Asking) -> list[dict[str, Any]]:
        return [identity(name, asking.secret(f"{at}/{name}")) for name in asking.names(at)]

    return of_any(settings["nodes"], settings["way_in"], identities)


def identity(name: str, kept: dict[str, Any]) -> dict[str, Any]:
    """Somebody's key and what it is good for; the name is the public half of the key."""
    return {
        "name": name,
        "credentials": [{"accessKey": name, "secretKey": kept["key"]}],
        "actions": kept["rights"],
    }


def fetch() -> None:
    """Whoever waits for a change sees one only where there is one. Raises AbsentError."""
    text = json.dumps({"identities": first_or_next()})
    if not FETCHED.exists() or FETCHED.read_text() != text:
        write(FETCHED, text)


def first_or_next() -> list[dict[str, Any]]:
    """Those of now; as long as there never were any, asked for again and again. Raises AbsentError."""
    settings, end = json.loads(SETTINGS.read_text()), time.monotonic() + FIRST
    while True:
        try:
            return fetched(settings)
        except AbsentError:
            if FETCHED.exists() or time.monotonic() > end:
                raise
        time.sleep(2)


def admit() -> None:
    """A list of nobody lets nobody in."""
    write(ADMITTED, FETCHED.read_text() if FETCHED.exists() else json.dumps({"identities": []}))


def more() -> None:
    """Raises StaleError where somebody whom it lets in is no more, or may do something else now."""
    text = FETCHED.read_text()
    now, before = (json.loads(one)["identities"] for one in (text, ADMITTED.read_text()))
    if gone := [one["name"] for one in before if one not in now]:
        raise StaleError(f"{', '.join(gone)}: found keys or rights that are no more; wanted the store started anew")
    write(ADMITTED, text)


def ask_from_now_on() -> None:
    """Raises AbsentError where it has no disk when the time is over."""
    end = time.monotonic() + SETTLED
    while not (SOCKET.exists() and disks()):
        if time.monotonic() > end:
            raise AbsentError(f"the store found no disk of its own in {SETTLED} s")
        time.sleep(0.2)
    OPEN.symlink_to(SOCKET)


def disks() -> int:
    """How many volumes the disks that it has found can hold."""
    try:
        with urllib.request.urlopen(DISKS, timeout=PATIENCE) as answer:
            return int(json.load(answer)["Topology"]["Max"])
    except (OSError, ValueError, KeyError):
        return 0


def write(path: Path, text: str) -> None:
    """The whole of it or what was there; for this user alone."""
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.rename(path)


def main() -> int:
    """Runs one verb. Returns the exit code."""
    verb = VERBS.get(" ".join(sys.argv[1:]))
    if verb is None:
        sys.exit(__doc__)
    try:
        verb()
    except (AbsentError, StaleError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


VERBS = {"fetch": fetch, "admit": admit, "more": more, "open": ask_from_now_on}


if __name__ == "__main__":
    sys.exit(main())
