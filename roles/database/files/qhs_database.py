#!/usr/bin/python3 -B
"""What a member of the databases needs beside Patroni.

check                    say why this member has not the data that it should, and exit with 2; or nothing
begun                    exit with 0 where this member has data, else 2
begin                    have the next start of one without data begin the site's databases
prepare                  have Patroni find what it needs to start, or to read anew
renew                    have a server start anew that only then knows what it is told now, and say so
copy --NAME=VALUE...     for Patroni: have a copy of another member's or another site's data
report                   write down for metrics how this member stands
on_... ROLE CLUSTER      Patroni has another role for it: whoever takes writes has the address of the service
"""

import http.client
import json
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/qhs/database/member.json")
METRICS = Path("/var/lib/prometheus/node-exporter/qhs_database.prom")
DATA = Path("/var/lib/qhs-database/main/PG_VERSION")
RUNTIME = Path("/run/qhs-database")
BEGIN = Path("/run/qhs-database-begin")
TLS = Path("/etc/qhs/tls")
BASEBACKUP = "/usr/lib/postgresql/17/bin/pg_basebackup"
PATIENCE = 5  # seconds for an answer
READS, FOLLOWS = 7, 90
"""Seconds in which Patroni has read what it is told, and in which a member that starts anew has the data again."""
LEADERS = ("primary", "standby_leader")
SERVES, SERVES_NOT = 100, -254  # the second one keeps the address away, whatever the other member is


def settings() -> dict[str, Any]:
    """What the role wrote."""
    found: dict[str, Any] = json.loads(SETTINGS.read_text())
    return found


def patroni(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What this member's Patroni answers; empty: it answers in words. Raises OSError: none, or it refuses a change."""
    context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    connection = http.client.HTTPSConnection(settings()["address"], 8008, context=context, timeout=PATIENCE)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read().decode()
        # What it says of a member that does not run has a status of its own.
        if body and answer.status != http.client.OK:
            raise OSError(f"Patroni refuses {method} {path}: {said}")
        found: dict[str, Any] = json.loads(said) if said.startswith("{") else {}
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"no answer of Patroni: {error}") from None
    finally:
        connection.close()
    return found


def status() -> dict[str, Any]:
    """What Patroni says of this member. Raises OSError."""
    return patroni("GET", "/patroni")


def wrong(found: dict[str, Any]) -> str:
    """Why a member has not the data that it should; empty: it has."""
    if found["role"] == "primary" and found["state"] == "running":
        return ""
    # A copy that waits for whom it follows says `running` as well.
    if found.get("replication_state") == "streaming":
        return ""
    return f"it is {found['role']}, {found['state']}, and does not stream"


def check() -> str:
    """Why this member has not the data that it should; empty: it has."""
    try:
        return wrong(status())
    except OSError as error:
        return f"Patroni does not answer: {error}"


def prepare() -> None:
    """What it is told, and whom servers believe: the estate's root for machines, another authority for provisioners."""
    config = RUNTIME / "config"
    config.mkdir(exist_ok=True)
    link(config / "member.yml", SETTINGS.with_name("patroni.json"))
    new = RUNTIME / "clients.new"
    new.write_text((TLS / "ca.crt").read_text() + SETTINGS.with_name("provisioners.crt").read_text())
    new.rename(RUNTIME / "clients.crt")


def renew() -> str:
    """What was done; empty: nothing. Its unit starts anew with it, which may allow more than it did. Raises OSError."""
    end = time.monotonic() + READS
    while not status().get("pending_restart"):
        if time.monotonic() > end:
            return ""
        time.sleep(1)
    subprocess.run(["/usr/bin/systemctl", "restart", "qhs-database.service"], check=True)
    end = time.monotonic() + FOLLOWS
    while found := check():
        if time.monotonic() > end:
            raise OSError(f"{FOLLOWS} s after it started anew {found}")
        time.sleep(1)
    return "started anew"


def copy(given: list[str]) -> int:
    """Copy a server's data as it is; `given`: `--datadir=`, `--connstring=`, and others. The program's exit code."""
    words = dict(one.removeprefix("--").split("=", 1) for one in given)
    how = ["--no-password", "--wal-method=stream", "--checkpoint=fast"]
    to, whence = f"--pgdata={words['datadir']}", f"--dbname={words['connstring']}"
    return subprocess.run([BASEBACKUP, *how, to, whence], check=False).returncode


def link(path: Path, target: Path) -> None:
    """Have one there, whatever was."""
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def report() -> None:
    """For the alerts that a member has not the data, and that nobody takes writes."""
    try:
        found = status()
        leads, whole = found["role"] in LEADERS, not wrong(found)
    except OSError:
        leads, whole = False, False
    new = METRICS.with_suffix(".new")
    new.write_text(f"qhs_database_leads {int(leads)}\nqhs_database_whole {int(whole)}\n")
    new.chmod(0o644)
    new.rename(METRICS)


def take(action: str, role: str) -> None:
    """Have the address of the service, or leave it."""
    serves = role in LEADERS and action != "on_stop"
    Path(settings()["served"]).write_text(f"{SERVES if serves else SERVES_NOT}\n")


def main() -> int:
    """Runs one verb. Returns the exit code."""
    match sys.argv[1:]:
        case ["check"]:
            print(found := check(), end="")
            return 2 if found else 0
        case ["begun"]:
            return 0 if DATA.exists() else 2
        case ["begin"]:
            BEGIN.touch()
        case ["prepare"]:
            prepare()
        case ["renew"]:
            print(renew(), end="")
        case ["copy", *given]:
            return copy(given)
        case ["report"]:
            report()
        case ["on_start" | "on_stop" | "on_restart" | "on_role_change" as action, role, _]:
            take(action, role)
        case _:
            sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
