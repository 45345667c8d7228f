#!/usr/bin/python3 -B
"""A restore of a site's databases, for trial: from one of their copies, to a point in time, beside them (T-B10).

    restore random|TIME  where this member takes writes, restore them, compare, and take everything away again; TIME is
                         as 2026-11-30T06:00:00.000000Z
    point                print as JSON from when to when that can be, at which store, and a point in between at random
    clear                take away what a restore that was killed has left

The place is empty before and gone afterwards. What runs there answers nobody but this program, writes nothing into the
databases, keeps no log, and is no member of anything: its server stays at the point, where it only reads.

What was asked for, found and measured is in /var/lib/qhs-backup/restored.json, from the beginning on. What is wrong is
a line on standard error, with exit code 1. Serves C-BAK-04.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import qhs_backup
import qhs_database
from qhs_backup import CONFIG, MARKS_FOR, RESTORED, SOCKET, STANZA, STATE, FailedError, called, settings, sql
from qhs_backup_compare import BLUR, Comparing, Server, ServerError

BIN = Path("/usr/lib/postgresql/17/bin")
PLACE = STATE / "restore"
DATA, LOG, ACCESS = PLACE / "data", PLACE / "log", PLACE / "access"
OWN_CONFIG = CONFIG.with_name("restore.conf")
REACHED = "select extract(epoch from pg_last_xact_replay_timestamp())"
AFTER = 2
"""Seconds after a copy's end from which on it can give a point back: pgBackRest tells whole seconds."""
DIES = 10
"""Seconds in which whoever writes to a place of a restore that was killed notices it."""
GETS_AWAY = 120
"""Seconds for a part of the log to get to the stores."""
ARCHIVED = "select last_archived_wal >= '{}' from pg_stat_archiver"
FIRST = "select extract(epoch from min(at)) from qhs_backup.marks"
MIB = 1 << 20
LOG_MIB = 128
"""MiB that a server's log may need beside its data."""
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
LIMITS = {
    "max_connections": "max_connections",
    "max_worker_processes": "max_worker_processes",
    "max_wal_senders": "max_wal_senders",
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}
"""As pg_controldata and the settings call them: who reads along needs as many as the server whose log it reads."""
SET = {
    "config_file": "/dev/null",
    "hba_file": ACCESS,
    "listen_addresses": "",
    "unix_socket_directories": PLACE,
    "archive_mode": "off",
    "primary_conninfo": "",
    "recovery_target_action": "pause",
    "hot_standby": "on",
    "ssl": "off",
    "jit": "off",
    "shared_preload_libraries": "",
    "shared_buffers": "8MB",
    "dynamic_shared_memory_type": "mmap",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "logging_collector": "off",
}


def span(timeline: int) -> dict[str, Any]:
    """From when to when a store's copies can give every point back; until now, as all until now gets away first.

    What another site wrote lies with its own copies: nothing of before writes came here last, by a timeline of their
    own, is a way to now. Raises FailedError.
    """
    if not CONFIG.exists():
        raise FailedError("nobody has told where copies go")
    store = next_store(timeline)
    there = usable(store, timeline)
    if not there:
        raise FailedError(f"{store['site']}: there is no copy since writes came here")
    latest = qhs_backup.mark()
    get_away()
    earliest = max(there[0]["timestamp"]["stop"] + AFTER, float(sql(FIRST)) + BLUR)
    return {"store": store, "copies": there, "earliest": earliest, "latest": latest}


def next_store(timeline: int) -> dict[str, Any]:
    """Of those that answer, the one that gave something back the longest ago. Raises FailedError."""
    text = CONFIG.read_text()
    there: list[dict[str, Any]] = [one for one in settings()["stores"] if f"repo{one['number']}-type=" in text]
    if not there:
        raise FailedError("no object store has answered lately")
    return min(there, key=lambda one: (qhs_backup.shown(one, timeline), one["number"]))


def usable(store: dict[str, Any], timeline: int) -> list[dict[str, Any]]:
    """Copies of a store since writes came here, the oldest first. Raises FailedError."""
    there = sorted(qhs_backup.copies(store), key=lambda one: int(one["timestamp"]["stop"]))
    return [one for one in there if qhs_backup.of(timeline, [one])]


def get_away() -> None:
    """Have the stores take the log until now. Raises FailedError."""
    last, end = sql("select pg_walfile_name(pg_switch_wal())"), time.monotonic() + GETS_AWAY
    while sql(ARCHIVED.format(last)) != "t":
        if time.monotonic() > end:
            raise FailedError(f"the log {last} did not get away within {GETS_AWAY} s")
        time.sleep(0.5)


def chosen(asked: str, within: dict[str, Any]) -> float:
    """The point, in seconds since 1970. Raises FailedError."""
    earliest, latest = within["earliest"], within["latest"]
    if latest <= earliest:
        raise FailedError(f"{within['store']['site']}: its first copy has just ended, and no point comes after it yet")
    if asked == "random":
        return round(random.SystemRandom().uniform(earliest, latest), 6)
    try:
        at = datetime.strptime(asked, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    except ValueError:
        raise FailedError(f"found the point {asked!r}; wanted a time like {told(latest)}") from None
    if not earliest <= at <= latest:
        raise FailedError(
            f"found the point {told(at)}; wanted one from {told(earliest)} to {told(latest)}: what copies at "
            f"{within['store']['site']} can give back since writes came here"
        )
    return at


def told(at: float) -> str:
    """A point as people and units write it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def point() -> None:
    """Raises FailedError."""
    within = span(leads()["timeline"])
    at = chosen("random", within)
    ends = {end: told(within[end]) for end in ("earliest", "latest")}
    print(json.dumps({"at": told(at), "now": time.time(), "store": within["store"]["site"], **ends}))


def leads() -> dict[str, Any]:
    """What Patroni says of this member. Raises FailedError where it takes no writes."""
    found = qhs_database.status()
    if found["role"] != "primary":
        raise FailedError(f"this member is {found['role']}; wanted the one that takes writes")
    return found


def restore(asked: str) -> None:
    """Raises FailedError with what is wrong."""
    if asked == "random" and qhs_database.status()["role"] != "primary":
        return  # each member has the timer
    with qhs_backup.alone():
        clear()
        trial = Trial(asked, leads()["timeline"])
        try:
            trial.run()
        except (FailedError, ServerError, OSError) as error:
            trial.faults.append(str(error))
        finally:
            with trial.part("remove"):
                clear()
        trial.end()


class Trial:
    """One restore, and what its file says of it, from the beginning on: one that was killed has not ended."""

    def __init__(self, asked: str, timeline: int) -> None:
        self.faults: list[str] = []
        self._timeline = timeline
        self._store: dict[str, Any] = {}
        self._told: dict[str, Any] = {
            "asked": asked, "timeline": timeline, "began": time.time(), "ended": None, "seconds": {},
            "faults": ["it has not ended"],
        }  # fmt: skip
        self._say()

    def run(self) -> None:
        """Every part in its order. Raises FailedError, ServerError or OSError."""
        with self.part("choose"):
            within = span(self._timeline)
            at, self._store = chosen(self._told["asked"], within), within["store"]
            copy = [one for one in within["copies"] if one["timestamp"]["stop"] + AFTER <= at][-1]
            self._say(at=told(at), store=self._store["site"], copy=copy["label"], bytes=copy["info"]["size"])
        room(copy["info"]["size"] // MIB + LOG_MIB)
        with self.part("fetch"):
            fetch(self._store, copy["label"], at)
        with server() as process:
            with self.part("replay"):
                await_point(process, at)
            self._compare(at)
        with self.part("pages"):
            self._say(pages=pages())

    def _compare(self, at: float) -> None:
        (reached,) = Server(PLACE).row("postgres", REACHED)
        with self.part("compare"):
            found = Comparing(Server(PLACE), Server(SOCKET), at).all(MARKS_FOR * settings()["days"] - 1)
        reached_at = float(reached or found.newest)
        self._say(reached=told(reached_at), short=round(at - reached_at, 6), contents=found.told())
        self.faults += found.faults

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Which takes time."""
        began = time.monotonic()
        yield
        self._told["seconds"][name] = round(time.monotonic() - began, 3)
        self._say()

    def end(self) -> None:
        """Raises FailedError with all that is wrong."""
        self._say(faults=self.faults, ended=time.time())
        if self.faults:
            where = f"{self._told.get('at', self._told['asked'])} from {self._told.get('store', 'no store')}"
            raise FailedError(f"{where}: {'; '.join(self.faults)}")
        qhs_backup.show(self._store, self._timeline, int(time.time()))

    def _say(self, **more: Any) -> None:
        self._told |= more
        qhs_backup.write(RESTORED, json.dumps(self._told, indent=1, ensure_ascii=False) + "\n")


def room(wanted: int) -> None:
    """For so many MiB, and beside them for the log that waits for the stores. Raises FailedError."""
    free, keeps = shutil.disk_usage(STATE).free // MIB, settings()["queue_mib"]
    if free < wanted + keeps:
        raise FailedError(
            f"{STATE}: found {free} MiB of room; wanted {wanted} for what is restored, and {keeps} that stay free for "
            "the log of the databases; a larger disk, or less on it, then start qhs-database-restore@random.service"
        )


def fetch(store: dict[str, Any], label: str, at: float) -> None:
    """A copy's files, from one store and no other. Raises FailedError."""
    PLACE.mkdir(mode=0o700)
    DATA.mkdir(mode=0o700)
    ACCESS.write_text("local all postgres peer\n")
    qhs_backup.write(OWN_CONFIG, own_config(CONFIG.read_text(), store["number"]))
    words = ["--archive-mode=off", f"--tablespace-map-all={PLACE}/spaces", f"--set={label}"]
    words += ["--type=time", f"--target={target(at)}", "--target-action=pause", "--target-timeline=current"]
    called(*DIES_WITH_US, "pgbackrest", f"--config={OWN_CONFIG}", f"--stanza={STANZA}", *words, "restore")


def own_config(text: str, number: int) -> str:
    """pgBackRest's words for one store alone, another place, and locks that nobody else waits for."""
    kept = [
        line
        for line in text.splitlines()
        if not line.startswith(("repo", "lock-path", "spool-path", "archive-", "pg1-"))
        or line.startswith(f"repo{number}-")
    ]
    kept.insert(kept.index("[global]") + 1, f"lock-path={PLACE}/lock")
    return "\n".join([*kept, f"pg1-path={DATA}", ""])


def target(at: float) -> str:
    """A point as PostgreSQL writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="microseconds")


@contextmanager
def server(data: Path = DATA, says: Path = LOG, **otherwise: object) -> Iterator["subprocess.Popen[bytes]"]:
    """One that reads the log up to the point, and answers this program alone. It is ended in order, for `pages`.

    `otherwise`: what is set otherwise for one that others come to.
    """
    given = SET | limits(data) | otherwise
    words = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
    with says.open("wb") as log:
        process = subprocess.Popen([*DIES_WITH_US, BIN / "postgres", "-D", data, *words], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def limits(data: Path) -> dict[str, int]:
    """What it needs at least: as the databases have it now, and as they had it at the copy. Raises FailedError."""
    control = called(str(BIN / "pg_controldata"), str(data))
    then = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in control.splitlines())}
    return {setting: max(int(then[f"{name} setting"]), int(sql(f"show {setting}"))) for name, setting in LIMITS.items()}


def await_point(process: "subprocess.Popen[bytes]", at: float) -> None:
    """Raises FailedError where the server ends before, or the disk fills."""
    asked = ["psql", "-h", str(PLACE), "-AtXq", "-d", "postgres", "-c", "select pg_get_wal_replay_pause_state()"]
    while process.poll() is None:
        room(0)
        if subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == "paused":
            return
        time.sleep(0.2)
    raise FailedError(f"the server ended before {target(at)}: {LOG.read_text(errors='replace')[-800:]}")


def pages() -> str:
    """What the checksums of all pages say; empty: they were not kept. Raises FailedError with those that are wrong."""
    if sql("show data_checksums") != "on":
        return ""
    return " ".join(called(*DIES_WITH_US, str(BIN / "pg_checksums"), "--check", "-D", str(DATA)).split())


def clear() -> None:
    """Whatever runs there, then the place."""
    empty(PLACE)
    OWN_CONFIG.unlink(missing_ok=True)


def empty(place: Path) -> None:
    """End whatever runs in a place, and take that away."""
    while there := [*running(place)]:
        for one in there:
            os.kill(one, signal.SIGKILL)
        time.sleep(0.1)
    end = time.monotonic() + DIES
    while place.exists():
        try:
            shutil.rmtree(place)
        except OSError:
            # Somebody whose master was killed may write there for a moment more.
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def running(place: Path) -> Iterator[int]:
    """Processes that stand in a place: what a server is made of."""
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if (one / "cwd").readlink().is_relative_to(place):
                yield int(one.name)
        except OSError:
            continue  # it is gone, or another one's


def main() -> int:
    """Runs one verb. Returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        match sys.argv[1:]:
            case ["restore", asked]:
                restore(asked)
            case ["point"]:
                point()
            case ["clear"]:
                if not qhs_backup.busy():  # what one that runs has there is its own
                    clear()
            case _:
                sys.exit(__doc__)
    except (FailedError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
