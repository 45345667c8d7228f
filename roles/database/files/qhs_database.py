#!/usr/bin/python3 -B
"""What a member of the databases needs beside Patroni.

check                    say why this member has not the data that it should, and exit with 2; or nothing
begun                    exit with 0 where this member has data, else 2
begin                    have the next start of one without data begin the site's databases
prepare                  have Patroni find what it needs to start, or to read anew
report                   write down for metrics how this member stands
on_... ROLE CLUSTER      Patroni has another role for it: whoever takes writes has the address of the service
"""

import http.client
import json
import ssl
import sys
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/qhs/database/member.json")
METRICS = Path("/var/lib/prometheus/node-exporter/qhs_database.prom")
DATA = Path("/var/lib/qhs-database/main/PG_VERSION")
RUNTIME = Path("/run/qhs-database")
BEGIN = Path("/run/qhs-database-begin")
TLS = Path("/etc/qhs/tls")
PATIENCE = 5  # seconds for an answer
LEADERS = ("primary", "standby_leader")
SERVES, SERVES_NOT = 100, -254  # the second one keeps the address away, whatever the other member is


def settings() -> dict[str, Any]:
    """What the role wrote."""
    found: dict[str, Any] = json.loads(SETTINGS.read_text())
    return found


def status() -> dict[str, Any]:
    """What Patroni says of this member. Raises OSError."""
    context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    connection = http.client.HTTPSConnection(settings()["address"], 8008, context=context, timeout=PATIENCE)
    try:
        connection.request("GET", "/patroni")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"no answer of Patroni: {error}") from None
    finally:
        connection.close()
    return found


def wrong(found: dict[str, Any]) -> str:
    """Why a member has not the data that it should; empty: it has."""
    if found["role"] in LEADERS and found["state"] == "running":
        return ""
    # A replica that waits for a leader says `running` as well.
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
    if BEGIN.exists():
        link(config / "begin.yml", SETTINGS.with_name("begin.json"))
    new = RUNTIME / "clients.new"
    new.write_text((TLS / "ca.crt").read_text() + SETTINGS.with_name("provisioners.crt").read_text())
    new.rename(RUNTIME / "clients.crt")


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
            return 0
        case ["prepare"]:
            prepare()
            return 0
        case ["report"]:
            report()
            return 0
        case ["on_start" | "on_stop" | "on_restart" | "on_role_change" as action, role, _]:
            take(action, role)
            return 0
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
