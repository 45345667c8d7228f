#!/usr/bin/python3 -B
"""What an application does in a bubble, as its canary does where it runs; asked and told by standard input and output.

It reads what was restored and writes to it, and tries whom it must not reach. It says what it found and does not know
what was to be found: that is for whoever asks. It runs as nobody, in the application's own segment.
"""

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any

import psycopg2
from qhs_bubble_objects import Store, StoreError

PATIENCE, SILENCE = 5, 2
"""Seconds for the databases to let it in, and in which somebody who must not be reached has answered."""
TABLES = """select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_toast'"""


def database(asked: dict[str, Any], name: str, password: str) -> dict[str, Any]:
    """How many tables of its own it sees, and whether a row that it writes is there: `said` is what is wrong, if any.

    The schema of the row comes and goes with it.
    """
    where = {"host": asked["databases_at"], "hostaddr": asked["address"], "connect_timeout": PATIENCE}
    trust = {"sslmode": "verify-full", "sslrootcert": asked["root"]}
    now = datetime.now(UTC)
    try:
        there = psycopg2.connect(dbname=name, user=name, password=password, **where, **trust)
        with closing(there), there, there.cursor() as cursor:
            cursor.execute(TABLES)
            ((tables,),) = cursor.fetchall()
            cursor.execute("create schema canary create table kept (at timestamptz not null)")
            cursor.execute("insert into canary.kept values (%s)", (now,))
            cursor.execute("select at from canary.kept")
            rows = cursor.fetchall()
            cursor.execute("drop schema canary cascade")
    except psycopg2.Error as error:
        return {"said": " ".join(str(error).split())[:300]}
    return {"said": "" if rows == [(now,)] else f"wrote {now}, read {rows}", "tables": tables}


def bucket(asked: dict[str, Any], name: str) -> dict[str, Any]:
    """How many objects it sees, and whether one that it writes is there; that goes again."""
    store = Store(asked["objects_at"], asked["root"], asked["tenant"], asked["key"], asked["address"])
    where, now = f"{name}/canary", datetime.now(UTC).isoformat().encode()
    try:
        objects = len([*store.objects(name)])
        store.put(where, now)
        read = store.get(where)
        store.delete(where)
    except (StoreError, OSError, HTTPException) as error:
        return {"said": " ".join(str(error).split())[:300]}
    return {"said": "" if read == now else f"wrote {now!r}, read {read!r}", "objects": objects}


def tried(host: str, port: int) -> str:
    """`open`, `refused`, or `nothing` where nobody says anything."""
    try:
        socket.create_connection((host, port), SILENCE).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "nothing"
    return "open"


def found(asked: dict[str, Any]) -> dict[str, Any]:
    """By database and bucket how it went, and by address what whoever is there said."""
    databases = {name: database(asked, name, password) for name, password in asked["passwords"].items()}
    buckets = {name: bucket(asked, name) for name in asked["buckets"]}
    done = time.time()
    with ThreadPoolExecutor(32) as pool:
        answers = [*pool.map(lambda one: tried(*one), asked["tries"])]
    tries = {f"{host}:{port}": said for (host, port), said in zip(asked["tries"], answers, strict=True)}
    return {"databases": databases, "buckets": buckets, "done": done, "tries": tries}


def main() -> None:
    """One question, one answer."""
    print(json.dumps(found(json.load(sys.stdin))))


if __name__ == "__main__":
    main()
