#!/usr/bin/python3 -B
"""What machines are asked in a drill: sent to them, run as root with the Python there, not kept.

database              how the database of this machine stands, by Patroni and by itself, and what room it has
contents              a digest of each table of every database, whatever the order of its rows
point                 from when to when a copy can be restored, and a point in between at random
restore AT SINCE      what became of the restore of a point that began since a time here; starts it where none has
left                  what there is of restores
stop                  end restores, and take away what is left of them
bubble                whether the bubble of a drill is kept here, and how it says that it stands
bubble-begin          have one made and kept; the same answer
bubble-counted        packets that have come from it to this machine
bubble-left           what there is of one
bubble-end            end it, and take away what is left of it
reach ADDRESS PORT    whether anybody answers there
clock                 the time
"""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/qhs/database/member.json")
DATA = "/var/lib/qhs-database"
TLS = Path("/etc/qhs/tls")
RESTORE = "/usr/local/lib/qhs-database-backup/qhs_backup_restore.py"
RESTORED, PLACE = Path("/var/lib/qhs-backup/restored.json"), Path("/var/lib/qhs-backup/restore")
BUBBLE, BUBBLED = "qhs-bubble.service", Path("/run/qhs-bubble/state.json")
BUBBLE_PROGRAM, BUBBLE_PLACE = "/usr/local/lib/qhs-bubble/qhs_bubble.py", Path("/var/lib/qhs-backup/bubble")
BUBBLE_WIRE, BUBBLE_COUNTER = Path("/sys/class/net/qhs-bubble"), ["inet", "qhs_bubble", "from_bubble"]
AS_POSTGRES = ["runuser", "-u", "postgres", "-g", "postgres", "-G", "qhs-tls", "--"]
PATIENCE = 3  # seconds for an answer
PSQL = ["runuser", "-u", "postgres", "--", "psql", "-h", "/run/qhs-database", "-AtXq", "-v", "ON_ERROR_STOP=1"]
DATABASES = "select datname from pg_database where datallowconn and datname not like 'template%' order by 1"
# A row as the server itself writes it: a cast to text may be a function of the table's owner, run here as who may all.
TABLES = """select format(
'select %L, count(*), coalesce(sum(hashtextextended(textin(record_out(t)), 0)), 0) from %I.%I t',
n.nspname || '.' || c.relname, n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema') order by 1"""
STANDS = """select pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool,
case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end - '0/0',
extract(epoch from now() - pg_last_xact_replay_timestamp()),
exists(select from pg_stat_wal_receiver where status = 'streaming')"""


def said(statement: str, database: str = "postgres") -> list[str]:
    """The lines that a server of this machine answers. Raises CalledProcessError."""
    env = os.environ | {"PGOPTIONS": "-c search_path=pg_catalog"}
    done = subprocess.run([*PSQL, "-d", database], input=statement, capture_output=True, text=True, check=True, env=env)
    return done.stdout.splitlines()


def patroni() -> dict[str, Any]:
    """What Patroni says of this member. Raises OSError."""
    context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    address = json.loads(SETTINGS.read_text())["address"]
    connection = http.client.HTTPSConnection(address, 8008, context=context, timeout=PATIENCE)
    try:
        connection.request("GET", "/patroni")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return found


def database() -> dict[str, Any]:
    """How it stands; of a server that does not answer, `wrong` says why."""
    try:
        found = patroni()
        read_only, position, age, streams = said(STANDS)[0].split("|")
    except (OSError, http.client.HTTPException, ValueError, subprocess.CalledProcessError) as error:
        return {"wrong": f"{type(error).__name__}: {error}"}
    return {
        "wrong": "",
        "role": found["role"],
        "state": found["state"],
        "streams": streams == "t",
        "timeline": found.get("timeline", 0),
        "writable": read_only == "f",
        "position": int(position),
        "age": float(age) if age else None,
        "free_mib": shutil.disk_usage(DATA).free >> 20,
    }


def contents() -> dict[str, str]:
    """By database and table the number of rows, and the sum of a digest of each."""
    found = {}
    for name in said(DATABASES):
        if statements := said(TABLES, name):
            for line in said(";".join(statements), name):
                table, _, what = line.partition("|")
                found[f"{name}/{table}"] = what
    return found


def point() -> dict[str, Any]:
    """What `wrong` says is why there is none; empty: there is."""
    done = subprocess.run([*AS_POSTGRES, RESTORE, "point"], capture_output=True, text=True, check=False)
    return {"wrong": done.stderr.strip()} if done.returncode else {"wrong": "", **json.loads(done.stdout)}


def restore(at: str, since: float) -> dict[str, Any]:
    """Where it has not ended, `ended` is None. One that was killed begins anew."""
    told = json.loads(RESTORED.read_text()) if RESTORED.exists() else {"began": 0}
    if told["began"] >= since and told["asked"] == at and told["ended"]:
        return dict(told)
    unit = f"qhs-database-restore@{at}.service"
    if unit not in restoring():
        subprocess.run(["systemctl", "start", "--no-block", unit], check=True)
    return {"ended": None}


def restoring() -> list[str]:
    """Units of restores that run."""
    states = "--state=active,activating,deactivating,reloading"
    command = ["systemctl", "list-units", "--plain", "--no-legend", states, "qhs-database-restore@*.service"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split()[0] for line in done.stdout.splitlines()]


def left() -> list[str]:
    """Units and folders."""
    return restoring() + [str(path) for path in (PLACE,) if path.exists()]


def stop() -> list[str]:
    """What is left all the same."""
    subprocess.run(["systemctl", "stop", "qhs-database-restore@*.service"], check=True)
    subprocess.run([*AS_POSTGRES, RESTORE, "clear"], check=True)
    return left()


def bubble() -> dict[str, Any]:
    """`state` is None before it has said anything."""
    kept = subprocess.run(["systemctl", "is-active", "--quiet", BUBBLE], check=False).returncode == 0
    return {"kept": kept, "state": json.loads(BUBBLED.read_text()) if kept and BUBBLED.exists() else None}


def bubble_begin() -> dict[str, Any]:
    """One that is kept already stays as it is."""
    subprocess.run(["systemctl", "start", BUBBLE], check=True)
    return bubble()


def bubble_counted() -> int:
    """By the machine's own counter, not by what keeps the bubble. Raises CalledProcessError where there is none."""
    command = ["nft", "-j", "list", "counter", *BUBBLE_COUNTER]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    (found,) = [one["counter"]["packets"] for one in told["nftables"] if "counter" in one]
    return int(found)


def bubble_left() -> list[str]:
    """The unit, its wire, its table and its folder."""
    listed = ["systemctl", "is-active", "--quiet", BUBBLE], ["nft", "list", "table", *BUBBLE_COUNTER[:2]]
    stand = [subprocess.run(one, capture_output=True, check=False).returncode == 0 for one in listed]
    names = [name for name, there in zip((BUBBLE, "inet qhs_bubble"), stand, strict=True) if there]
    return names + [str(path) for path in (BUBBLE_WIRE, BUBBLE_PLACE) if path.exists()]


def bubble_end() -> list[str]:
    """What is left all the same."""
    subprocess.run(["systemctl", "stop", BUBBLE], check=True)
    subprocess.run([BUBBLE_PROGRAM, "clear"], check=True)
    return bubble_left()


def reach(address: str, port: int) -> bool:
    """Whether anybody answers there."""
    try:
        socket.create_connection((address, port), PATIENCE).close()
    except OSError:
        return False
    return True


VERBS: dict[str, Callable[..., Any]] = {
    "database": database,
    "contents": contents,
    "point": point,
    "restore": lambda at, since: restore(at, float(since)),
    "left": left,
    "stop": stop,
    "bubble": bubble,
    "bubble-begin": bubble_begin,
    "bubble-counted": bubble_counted,
    "bubble-left": bubble_left,
    "bubble-end": bubble_end,
    "reach": lambda address, port: reach(address, int(port)),
    "clock": time.time,
}


def main() -> None:
    """Runs one verb; prints JSON."""
    match sys.argv[1:]:
        case [verb, *words] if verb in VERBS:
            print(json.dumps(VERBS[verb](*words)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
