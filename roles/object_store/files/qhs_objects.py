#!/usr/bin/python3 -B
"""The object store: the keys of those who may come in, and when.

    fetch  get them from the site's secret store; what no node tells stays as it was, with a line that says why
    admit  have the store, which is about to start, let in whoever has one of them, and nobody else
    open   wait until the store can read what it holds, and have it asked from then on

What fails is a line on standard error, with exit code 1.
"""

import http.client
import json
import os
import ssl
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/qhs/objects/keys.json")
TLS = Path("/etc/qhs/tls")
FETCHED = Path("/run/qhs-objects-keys/keys.json")
ADMITTED = Path("/run/qhs-objects/admitted.json")
PORT, PATIENCE = 8200, 10  # seconds for an answer
SOCKET, OPEN = Path("/run/qhs-objects/s3.sock"), Path("/run/qhs-objects/open.sock")
DISKS, SETTLED = "http://127.0.0.1:9333/dir/status", 60
"""What disks the store knows of, and seconds in which it finds its own; it answers before, and takes nothing."""
NAMES = "objects"
"""Below which path the secret store has them."""


class AbsentError(Exception):
    """What is not there, and why."""


class NothingError(OSError):
    """Nothing stands at a path."""


class Asking:
    """A node of the secret store, as this machine sees it. Raises OSError, HTTPException, ValueError or KeyError."""

    def __init__(self, node: str, way_in: str) -> None:
        context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
        self._connection = http.client.HTTPSConnection(node, PORT, context=context, timeout=PATIENCE)
        self._token: dict[str, str] = {}
        login = self.ask("POST", "auth/cert/login", json.dumps({"name": way_in}))
        self._token = {"X-Vault-Token": login["auth"]["client_token"]}

    def ask(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        """What it answers."""
        self._connection.request(method, f"/v1/{path}", body, self._token)
        response = self._connection.getresponse()
        text = response.read()
        if response.status != http.client.OK:
            kind = NothingError if response.status == http.client.NOT_FOUND else OSError
            raise kind(f"{path}: {response.status} {response.reason}")
        answer: dict[str, Any] = json.loads(text)
        return answer


def fetched(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """As the store wants them, by name. Raises AbsentError with what each node said."""
    said = []
    for node in settings["nodes"]:
        try:
            asking = Asking(node, settings["way_in"])
            return [identity(name, asking.ask("GET", f"secret/data/{NAMES}/{name}")) for name in names(asking)]
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            said.append(f"{node}: {error or type(error).__name__}")
    raise AbsentError(f"the secret store tells no key: {'; '.join(said)}")


def names(asking: Asking) -> list[str]:
    """Of all who have a key."""
    try:
        return sorted(asking.ask("LIST", f"secret/metadata/{NAMES}")["data"]["keys"])
    except NothingError:
        return []


def identity(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Somebody's key and what it is good for; the name is the public half of the key."""
    kept = answer["data"]["data"]
    return {
        "name": name,
        "credentials": [{"accessKey": name, "secretKey": kept["key"]}],
        "actions": kept["rights"],
    }


def fetch() -> None:
    """Whoever waits for a change sees one only where there is one."""
    text = json.dumps({"identities": fetched(json.loads(SETTINGS.read_text()))})
    if not FETCHED.exists() or FETCHED.read_text() != text:
        write(FETCHED, text)


def admit() -> None:
    """A list of nobody lets nobody in."""
    write(ADMITTED, FETCHED.read_text() if FETCHED.exists() else json.dumps({"identities": []}))


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
    except AbsentError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


VERBS = {"fetch": fetch, "admit": admit, "open": ask_from_now_on}


if __name__ == "__main__":
    sys.exit(main())
