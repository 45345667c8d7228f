#!/usr/bin/python3 -B
"""The backups of a site's databases: what pgBackRest needs to make them, and when it does.

    configure  have it know where copies go, by keys of the site's secret store; what no node tells stays as it was
    run        where this member takes writes, mark the time in the databases and make the copies that are due; write
               down for metrics how all stand

What fails is a line on standard error, with exit code 1; what does not fail is done all the same.
"""

import fcntl
import json
import os
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection
from typing import Any

sys.path.insert(0, "/usr/local/lib/qhs-pki")
sys.path.insert(0, "/usr/local/lib/qhs-database")
from qhs_database import status
from secret_store import TLS, AbsentError, Asking, of_any

SETTINGS = Path("/etc/qhs/database-backup/backup.json")
CONFIG = Path("/run/qhs-backup/pgbackrest.conf")
REPORT = Path("/run/qhs-backup/report.prom")
STATE = Path("/var/lib/qhs-backup")
DATA, SOCKET = Path("/var/lib/qhs-database/main"), Path("/run/qhs-database")
AUTHORITY = TLS / "ca.crt"
PORT, PATIENCE = 443, 5  # seconds for an answer
AWAY = 3600
"""Seconds after which nothing waits for an object store any more: until every store has it, a member keeps its log, and
a site that is gone for long would fill the disks of the others. What it misses, its next copy makes up for."""
FULL, BETWEEN = 7 * 86400, 86400
"""Seconds from one copy of everything to the next, and from any copy to the next of what has changed since."""
STANZA = "main"
WHOLE, NO_COPY = 0, 2
"""What pgBackRest calls a store that is as it should be, and one that is, but for its first copy."""
RESTORED = STATE / "restored.json"
"""The last restore that was rehearsed: the point that it was asked for, what each part of it took, what was found."""
STUCK = """select coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)
from pg_stat_archiver"""
BEGIN_MARKS = """create schema if not exists qhs_backup;
create table if not exists qhs_backup.marks (at timestamptz primary key)"""
MARK = """insert into qhs_backup.marks values (clock_timestamp()) returning extract(epoch from at)"""
FORGET = "delete from qhs_backup.marks where at < now() - interval '{} days'"
MARKS_FOR = 2
"""Times as long as copies are kept: a copy of everything stays until the next one is so old."""
LOCAL = "set synchronous_commit = local"
"""A mark waits for no other member: it is there to be found in copies."""


class FailedError(Exception):
    """Something was not done, and why."""


def settings() -> dict[str, Any]:
    """What the role wrote."""
    found: dict[str, Any] = json.loads(SETTINGS.read_text())
    return found


def configure() -> None:
    """Whoever waits for a change sees one only where there is one. Raises AbsentError or FailedError."""
    wanted = settings()
    system = identifier()
    stores = [one for one in wanted["stores"] if lately(one)]
    if not stores:
        raise FailedError("no object store has answered for an hour: copies go where they went")
    pass_phrase, key = of_any(wanted["nodes"], wanted["way_in"], lambda asking: kept(asking, wanted))
    text = config(wanted, stores, system, pass_phrase, key)
    if not CONFIG.exists() or CONFIG.read_text() != text:
        write(CONFIG, text)


def identifier() -> int:
    """Which databases these are, as a server knows it of its data. Raises FailedError."""
    try:
        (found,) = struct.unpack("=Q", (DATA / "global/pg_control").read_bytes()[:8])
    except (OSError, struct.error) as error:
        raise FailedError(f"there is no data yet: {error}") from None
    return int(found)


def kept(asking: Asking, wanted: dict[str, Any]) -> tuple[str, str]:
    """What copies are encrypted by, and the key to the object stores."""
    return asking.secret(wanted["encrypts"])["pass"], asking.secret(wanted["identity"])["key"]


def lately(store: dict[str, Any]) -> bool:
    """Whether a store has answered within the last hour; one that has not misses what is written meanwhile."""
    seen, missed = STATE / f"seen-{store['site']}", behind(store)
    try:
        context = ssl.create_default_context(cafile=str(AUTHORITY))
        with create_connection((store["name"], PORT), PATIENCE) as plain:
            context.wrap_socket(plain, server_hostname=store["name"]).close()
        seen.touch()
    except OSError as error:
        print(f"{store['name']}: {error}", file=sys.stderr)
    found = seen.exists() and seen.stat().st_mtime > time.time() - AWAY
    if not found:
        missed.touch()
    return found


def behind(store: dict[str, Any]) -> Path:
    """A file that is there while a store lacks a part of the log."""
    return STATE / f"behind-{store['site']}"


def config(wanted: dict[str, Any], stores: list[dict[str, Any]], system: int, pass_phrase: str, key: str) -> str:
    """pgBackRest's words. What has another beginning goes elsewhere: no log of one is ever taken for the other's."""
    lines = [
        "[global]",
        "archive-async=y",
        "archive-timeout=120",
        f"archive-push-queue-max={wanted['queue_mib']}MiB",
        "compress-type=zst",
        "start-fast=y",
        "log-level-console=warn",
        "log-level-stderr=off",
        "log-level-file=off",
        f"lock-path={STATE}/lock",
        f"spool-path={STATE}/spool",
    ]
    for one in stores:
        about = {
            "type": "s3",
            "path": f"/{system}",
            "s3-bucket": wanted["bucket"],
            "s3-endpoint": one["name"],
            "s3-region": "qhs",
            "s3-uri-style": "path",
            "s3-key": wanted["bucket"],
            "s3-key-secret": key,
            "storage-ca-file": AUTHORITY,
            "cipher-type": "aes-256-cbc",
            "cipher-pass": pass_phrase,
            # Small files go together: an application's empty database is three hundred of them, each a question else.
            "bundle": "y",
            "retention-full-type": "time",
            "retention-full": wanted["days"],
        }
        lines += [f"repo{one['number']}-{name}={value}" for name, value in about.items()]
    return "\n".join([*lines, f"[{STANZA}]", f"pg1-path={DATA}", f"pg1-socket-path={SOCKET}", ""])


def run() -> None:
    """Every store by itself: one that is away keeps no other from its copy. Raises FailedError with what each said."""
    found = status()
    if found["role"] != "primary":
        write(REPORT, "", 0o644)
        return
    if not CONFIG.exists():
        raise FailedError("nobody has told where copies go")
    said, text = [], CONFIG.read_text()
    lines = [f"qhs_backup_archive_failing {int(failing())}", *rehearsed(found["timeline"])]
    try:
        mark()
    except FailedError as error:
        said.append(f"the time is not marked: {error}")
    for store in settings()["stores"]:
        if f"repo{store['number']}-type=" in text:
            try:
                copy(store, found["timeline"])
                note(store)
            except FailedError as error:
                said.append(f"{store['site']}: {error}")
        lines.append(f'qhs_backup_taken_seconds{{at="{store["site"]}"}} {noted(store)}')
    write(REPORT, "".join(f"{line}\n" for line in lines), 0o644)
    if said:
        raise FailedError("; ".join(said))


def mark() -> float:
    """Write the time into the databases, in seconds since 1970: what a copy has of these says which point it is of.

    Raises FailedError.
    """
    if sql("select to_regclass('qhs_backup.marks') is null") == "t":
        sql(BEGIN_MARKS)
    return float(sql(LOCAL, FORGET.format(MARKS_FOR * settings()["days"]), MARK))


def rehearsed(timeline: int) -> Iterator[str]:
    """For metrics when the databases were last shown to come back from a copy made since writes came here.

    Before the first time it is since when they could be.
    """
    yield f"qhs_backup_restored_seconds {max(shown(one, timeline) for one in settings()['stores'])}"
    last: dict[str, Any] = json.loads(RESTORED.read_text()) if RESTORED.exists() else {"timeline": 0}
    if last["timeline"] == timeline:
        yield f"qhs_backup_restore_failed {int(bool(last['faults']) and not busy())}"
        yield from (
            f'qhs_backup_restore_took_seconds{{part="{part}"}} {took}' for part, took in last["seconds"].items()
        )


def shown(store: dict[str, Any], timeline: int) -> int:
    """When a store last gave back what was right, of a timeline."""
    path = showed(store)
    known, since = path.read_text().split() if path.exists() else (0, 0)
    if int(known) != timeline:
        since = int(time.time())
        show(store, timeline, since)
    return int(since)


def show(store: dict[str, Any], timeline: int, at: int) -> None:
    """Note it."""
    write(showed(store), f"{timeline} {at}")


def showed(store: dict[str, Any]) -> Path:
    """Where that is noted."""
    return STATE / f"restored-{store['site']}"


@contextmanager
def alone() -> Iterator[None]:
    """One restore at a time. Raises FailedError."""
    with (STATE / "restore.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FailedError("another restore runs on this machine") from None
        yield


def busy() -> bool:
    """Whether one runs."""
    try:
        with alone():
            return False
    except FailedError:
        return True


def copy(store: dict[str, Any], timeline: int) -> None:
    """The one that is due, if any; what is written belongs to a timeline. Raises FailedError."""
    try:
        there = copies(store)
    except FailedError:  # where nothing of ours is yet, it is made; of what is another's, that says so
        pg_backrest("stanza-create")
        there = copies(store)
    kind = due(there, time.time(), behind=behind(store).exists() or not of(timeline, there))
    if kind:
        pg_backrest("backup", f"--repo={store['number']}", f"--type={kind}")
        behind(store).unlink(missing_ok=True)


def of(timeline: int, there: list[dict[str, Any]]) -> bool:
    """Whether the newest copy is of a timeline. Another site may have written meanwhile, whose log lies with its own
    copies: from an older one here nobody would come past that.
    """
    newest = max(there, key=lambda one: one["timestamp"]["stop"], default=None)
    return newest is None or int(newest["archive"]["start"][:8], 16) == timeline


def copies(store: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that a store has whole. Raises FailedError."""
    (told,) = json.loads(pg_backrest("info", f"--repo={store['number']}", "--output=json"))
    if told["status"]["code"] not in (WHOLE, NO_COPY):
        raise FailedError(f"{told['status']['message']}: {told['repo'][0]['status']['message']}")
    return [one for one in told["backup"] if not one["error"]]


def due(there: list[dict[str, Any]], now: float, *, behind: bool) -> str:
    """Which kind of copy; empty: none."""
    ends = {kind: [one["timestamp"]["stop"] for one in there if one["type"] == kind] for kind in ("full", "diff")}
    if not ends["full"] or now - max(ends["full"]) >= FULL:
        return "full"
    return "diff" if behind or now - max(ends["full"] + ends["diff"]) >= BETWEEN else ""


def note(store: dict[str, Any]) -> None:
    """When the newest copy of a store ended. Raises FailedError."""
    newest(store).write_text(str(max((one["timestamp"]["stop"] for one in copies(store)), default=0)))


def noted(store: dict[str, Any]) -> int:
    """The same as it was last known, as a store may be away; 0: there never was one."""
    return int(newest(store).read_text()) if newest(store).exists() else 0


def newest(store: dict[str, Any]) -> Path:
    """Where that is noted."""
    return STATE / f"newest-{store['site']}"


def failing() -> bool:
    """Whether the log of this member does not get away. Raises FailedError."""
    return sql(STUCK) == "t"


def sql(*statements: str) -> str:
    """What the databases answer to the last of them. Raises FailedError."""
    asked = [word for one in statements for word in ("-c", one)]
    return called("psql", "-h", str(SOCKET), "-AtXq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", *asked).strip()


def pg_backrest(verb: str, *more: str) -> str:
    """Raises FailedError."""
    return called("pgbackrest", f"--config={CONFIG}", f"--stanza={STANZA}", *more, verb)


def called(*command: str) -> str:
    """What a program prints. Raises FailedError with what it says is wrong."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise FailedError(
            f"{command[0]} {command[-1]} ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}"
        )
    return done.stdout


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """The whole of it or what was there."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    new.rename(path)


def main() -> int:
    """Runs one verb. Returns the exit code."""
    verb = VERBS.get(" ".join(sys.argv[1:]))
    if verb is None:
        sys.exit(__doc__)
    try:
        verb()
    except (AbsentError, FailedError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


VERBS = {"configure": configure, "run": run}


if __name__ == "__main__":
    sys.exit(main())
