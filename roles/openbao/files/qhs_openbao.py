#!/usr/bin/python3
"""What a node of the secret store needs beside its server.

    seal-key  get the seal key from an HSM of the site into memory, for a server that is about to start
    settled   wait until the server serves, or says that the store is not there yet
    check     say why this node does not serve, and exit with 2; or nothing
    report    write down for metrics whether this node serves
    begun     exit with 0 where this node knows of a store, 2 where it says that there is none, else 1
    begin     have the next start of the server begin one

What fails is a line on standard error, with exit code 1.
"""

import hashlib
import http.client
import json
import os
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

BEGIN = Path("/run/qhs-openbao-begin")
SETTINGS = Path("/etc/qhs/openbao/node.json")
SEAL = """seal "static" {{
  current_key_id = "{name}"
  current_key = "file://{own}/seal.key"
}}
"""
TLS = Path("/etc/qhs/tls")
METRICS = Path("/var/lib/prometheus/node-exporter/qhs_openbao.prom")
PATIENCE = 10  # seconds for an answer
SETTLED = 80  # seconds for a server to serve; systemd gives it 90
KEY_SIZE, LONGEST = 32, 1024  # bytes of a key, and of any answer
PREFIX = b"key:"
NO_STORE = "it belongs to no store"


class AbsentError(Exception):
    """What is not there, and why."""


def settings() -> dict[str, Any]:
    """What the role wrote."""
    return json.loads(SETTINGS.read_text())


def context() -> ssl.SSLContext:
    """As this machine, with those that the estate's root vouches for."""
    made = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def seal_key() -> None:
    """The nearest HSM first; the name of the key follows from it, so that another one is never taken for it."""
    key = given()
    own = Path(os.environ["RUNTIME_DIRECTORY"])
    write(own / "seal.key", key)
    write(own / "seal.hcl", SEAL.format(name=hashlib.sha256(key).hexdigest()[:16], own=own).encode())


def given() -> bytes:
    """Raises AbsentError with what each host said."""
    said = []
    own = context()
    own.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    for host in settings()["unseal"]:
        try:
            with (
                socket.create_connection((host["address"], 8202), PATIENCE) as plain,
                own.wrap_socket(plain, server_hostname=host["name"]) as secure,
            ):
                answer = whole(secure)
        except OSError as error:
            said.append(f"{host['name']}: {error}")
            continue
        if answer.startswith(PREFIX) and len(answer) == len(PREFIX) + KEY_SIZE:
            return answer.removeprefix(PREFIX)
        said.append(f"{host['name']}: {answer.decode(errors='replace') or 'no key: its journal says why'}")
    raise AbsentError(f"no HSM of the site gives the seal key out: {'; '.join(said)}")


def whole(secure: ssl.SSLSocket) -> bytes:
    """All that comes, as far as it can be an answer."""
    found = b""
    while len(found) < LONGEST and (part := secure.recv(LONGEST)):
        found += part
    return found


def write(path: Path, content: bytes) -> None:
    """For the server alone, which runs as this user."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
        file.write(content)


def health() -> dict[str, Any]:
    """What the server says of itself. Raises OSError."""
    address = settings()["address"]
    connection = http.client.HTTPSConnection(address, 8200, context=context(), timeout=PATIENCE)
    try:
        connection.request("GET", "/v1/sys/health?standbyok=true&sealedcode=200&uninitcode=200")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"no answer of a secret store: {error}") from None
    finally:
        connection.close()
    return found


def check() -> str:
    """Why it does not serve; empty: it does."""
    try:
        found = health()
    except OSError as error:
        return f"the server does not answer: {error}"
    if not found["initialized"]:
        return NO_STORE
    return "it is sealed" if found["sealed"] else ""


def settled() -> None:
    """Raises AbsentError where it is still sealed when the time is over."""
    end = time.monotonic() + SETTLED
    while (why := check()) not in ("", NO_STORE):
        if time.monotonic() > end:
            raise AbsentError(why)
        time.sleep(0.5)


def report() -> None:
    """For the alert that a store is sealed."""
    new = METRICS.with_suffix(".new")
    new.write_text(f"qhs_secret_store_serves {int(not check())}\n")
    new.chmod(0o644)
    new.rename(METRICS)


def main() -> int:
    """Runs one verb. Returns the exit code."""
    os.umask(0o077)
    match sys.argv[1:]:
        case ["check"]:
            print(found := check(), end="")
            return 2 if found else 0
        case ["report"]:
            report()
            return 0
        case ["begin"]:
            BEGIN.write_text("BEGIN=-config=/etc/qhs/openbao/begin.json\n")
            return 0
        case ["seal-key" | "settled" | "begun" as verb]:
            try:
                if verb == "begun":
                    return 0 if health()["initialized"] else 2
                seal_key() if verb == "seal-key" else settled()
            except (AbsentError, OSError) as error:
                print(error, file=sys.stderr)
                return 1
            return 0
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
