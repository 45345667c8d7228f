"""Uses what the application is given, as the application would."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import web
from given import ROOT, settings
from store import Store

WRITTEN = "written and read"
READ = "read"
"""Of an archive: what is written there stays for years, so that nothing is."""


def found() -> dict[str, Any]:
    """By what it is given, how it went: one of the words above, or why not."""
    own = settings()
    told = {name: own[name] for name in ("tenant", "site", "build")}
    try:
        store = Store()
    except web.RefusedError as error:
        return {**told, "secrets": str(error), "databases": {}, "buckets": {}}
    names, objects = own["databases"]["names"], own["objects"]
    databases = {name: _tried(lambda name=name: database(store, name)) for name in names}
    buckets = {name: _tried(lambda name=name: bucket(store, name)) for name in objects["buckets"]}
    archives = {name: _tried(lambda name=name: archive(store, name)) for name in objects["archives"]}
    return {**told, "secrets": READ, "databases": databases, "buckets": buckets | archives}


def _tried(use: Callable[[], str]) -> str:
    try:
        return use()
    except (web.RefusedError, psycopg.Error) as error:
        return " ".join(str(error).split())[:300]


def database(store: Store, name: str) -> str:
    """A row in a schema that comes and goes with it: what is empty stays so."""
    given = {"dbname": name, "user": name, "password": store.read(f"databases/{name}")["password"]}
    where = {"host": settings()["databases"]["host"], "sslmode": "verify-full", "sslrootcert": str(ROOT)}
    now = datetime.now(UTC)
    with psycopg.connect(**given, **where, connect_timeout=5) as there:
        there.execute("create schema canary create table kept (at timestamptz not null)")
        there.execute("insert into canary.kept values (%s)", (now,))
        row = there.execute("select at from canary.kept").fetchone()
        there.execute("drop schema canary cascade")
    return WRITTEN if row == (now,) else f"wrote {now}, read {row}"


def bucket(store: Store, name: str) -> str:
    """An object, which goes again with its one version."""
    where, now = f"{name}/canary/{settings()['site']}", datetime.now(UTC).isoformat()
    version = object_(
        store, where, **{"request": "PUT", "data": now, "write-out": "%header{x-amz-version-id}"}
    ).decode()
    read = object_(store, where).decode()
    object_(store, f"{where}?versionId={version}", request="DELETE")
    return WRITTEN if read == now else f"wrote {now}, read {read}"


def archive(store: Store, name: str) -> str:
    """What it has."""
    object_(store, f"{name}?list-type=2&max-keys=1")
    return READ


def object_(store: Store, where: str, **words: str) -> bytes:
    """Signed with the application's own key. Raises RefusedError."""
    own = settings()
    user = f"{own['tenant']}:{store.read(f'objects/{own["tenant"]}')['key']}"
    signing = {"user": user, "aws-sigv4": "aws:amz:x:s3"}
    return web.ask(f"https://{own['objects']['host']}/{where}", **signing, **words)
