"""What a restored copy holds, against the databases that it is of, which have gone on meanwhile (C-BAK-04).

Whatever has not changed since the point that a copy is of must be in it, exactly as it is now: every database, every
table, every row. The server itself says what has not changed: each row has the number of the transaction that wrote it,
and a copy the number below which all were over at its point. What has changed since cannot be compared; it is counted.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SAME_WORDS = """set lock_timeout = '5s'; set client_min_messages = error; set search_path = pg_catalog;
set datestyle = iso; set intervalstyle = iso_8601; set timezone = utc; set extra_float_digits = 1;
set bytea_output = hex"""
"""A row has the same text on both servers, whatever a role or a database has set. Nobody is waited for: whoever was
changing a table as the point came never ends in a copy that stays there."""
TIMED_OUT = "due to lock timeout"
BETWEEN_FIELDS = "\x1f"
OLD = "(age({0}.xmin) > age('{1}'::xid) or age({0}.xmin) < 0)"
"""Written before all transactions from a number on. An age below 0 is that of a row so old that numbers began anew."""
BELOW = "select pg_snapshot_xmin(pg_current_snapshot())::xid"
DATABASES = "select datname, {} from pg_database d where datallowconn and datname not like 'template%'"
TABLES = """select format('%I.%I', n.nspname, c.relname), (select md5(string_agg(format('%s %s %s %s', a.attnum,
a.attname, format_type(a.atttypid, a.atttypmod), a.attisdropped), ',' order by a.attnum))
from pg_attribute a where a.attrelid = c.oid and a.attnum > 0), {}
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname not in ('pg_catalog', 'information_schema')"""
# A row as the server itself writes it: a cast to text may be a function of the table's owner, run here as who may all.
SUM = "select count(*), coalesce(sum(hashtextextended(textin(record_out(qhs_row)), 0)), 0) from {} qhs_row where {}"
HASHES = "select hashtextextended(textin(record_out(qhs_row)), 0) from {} qhs_row where {} order by 1"
MARKS = "select extract(epoch from at) from qhs_backup.marks where at > now() - interval '{} days'"
BLUR = 5
"""Seconds by which the transaction of a mark may end after the time that it wrote."""
NAMED = 5
"""Names in a line."""


class ServerError(Exception):
    """A server does not answer, and why."""


class HeldError(ServerError):
    """Somebody is changing the table."""


@dataclass(frozen=True)
class Server:
    """By its socket; asked as who runs it."""

    socket: Path

    def rows(self, database: str, question: str) -> Iterator[list[str]]:
        """As they come: there may be more than a machine could hold. Raises ServerError."""
        command = ["psql", "-h", str(self.socket), "-AtXq", "-F", BETWEEN_FIELDS, "-v", "ON_ERROR_STOP=1"]
        command += [
            "-v",
            "VERBOSITY=terse",
            "-v",
            "FETCH_COUNT=10000",
            "-d",
            database,
            "-c",
            SAME_WORDS,
            "-c",
            question,
        ]
        last = ""
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            for line in process.stdout or ():
                last = line.rstrip("\n")
                yield last.split(BETWEEN_FIELDS)
        if process.returncode:
            kind = HeldError if TIMED_OUT in last else ServerError
            raise kind(f"{self.socket}, {database}: psql ended with {process.returncode}: {last}")

    def row(self, database: str, question: str) -> list[str]:
        """The first one. Raises ServerError."""
        first, *_ = self.rows(database, question)
        return first


@dataclass
class Compared:
    """What came of it."""

    databases: int = 0
    tables: int = 0
    rows: int = 0
    """Of these tables, in the copy."""
    same: int = 0
    """Tables to which nothing has happened but that rows have been added."""
    changed: int = 0
    """Tables of which rows have changed since, or that are made otherwise now, or are gone."""
    held: int = 0
    """Tables that somebody was changing as the point came, or is now: nobody could read them."""
    marks: int = 0
    """Times that were written before the point, and are in the copy."""
    newest: float = 0
    """The last of these, in seconds since 1970."""
    faults: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """For a file."""
        return dict(vars(self))


@dataclass(frozen=True)
class Comparing:
    """A copy of a point, in seconds since 1970, with the databases that it is of. All of this raises ServerError."""

    copy: Server
    live: Server
    at: float
    found: Compared = field(default_factory=Compared)

    def all(self, days: int) -> Compared:
        """Everything; `days`: for how long marks are kept at least."""
        self.marks(days)
        (below,) = self.copy.row("postgres", BELOW)
        here = {name for name, _ in self.copy.rows("postgres", DATABASES.format("true"))}
        there = {name: old == "t" for name, old in self.live.rows("postgres", DATABASES.format(OLD.format("d", below)))}
        self._lacks("the database", [name for name, old in there.items() if old and name not in here])
        for name in sorted(here & there.keys()):
            self.found.databases += 1
            self.tables(name, below)
        return self.found

    def marks(self, days: int) -> None:
        """The times that were written before the point must be there, and none after it."""
        question = MARKS.format(days)
        here, there = ({float(at) for (at,) in one.rows("postgres", question)} for one in (self.copy, self.live))
        self.found.marks, self.found.newest = len(here), max(here, default=0)
        if missing := {one for one in there if one < self.at - BLUR} - here:
            self.found.faults.append(f"{len(missing)} marks of before the point are not there, from {min(missing)} on")
        if later := {one for one in here if one > self.at}:
            self.found.faults.append(f"{len(later)} marks of after the point are there, until {max(later)}")
        if not here:
            self.found.faults.append("there is no mark: nothing shows which point it is of")

    def tables(self, database: str, below: str) -> None:
        """Those of a database; `below`: the number below which all transactions were over at the point."""
        here = {name: made for name, made, _ in self.copy.rows(database, TABLES.format("true"))}
        there = {one[0]: one[1:] for one in self.live.rows(database, TABLES.format(OLD.format("c", below)))}
        lost = [name for name, (_, old) in there.items() if old == "t" and name not in here]
        self._lacks(f"{database}: the table", lost)
        for name, made in sorted(here.items()):
            self.found.tables += 1
            if there.get(name, [""])[0] == made:
                self._try(database, name, OLD.format("qhs_row", below))
            else:
                self.found.changed += 1

    def _try(self, database: str, name: str, old: str) -> None:
        try:
            self.table(database, name, old)
        except HeldError:
            self.found.held += 1

    def table(self, database: str, name: str, old: str) -> None:
        """Every row of now that has not changed since must be in the copy."""
        count, total = self.copy.row(database, SUM.format(name, "true"))
        self.found.rows += int(count)
        if [count, total] == self.live.row(database, SUM.format(name, old)):
            self.found.same += 1
            return
        strange = strangers(
            (int(one) for (one,) in self.live.rows(database, HASHES.format(name, old))),
            (int(one) for (one,) in self.copy.rows(database, HASHES.format(name, "true"))),
        )
        if strange:
            self.found.faults.append(f"{database}: {name}: {strange} rows from before the point are not in it")
        else:
            self.found.changed += 1

    def _lacks(self, what: str, names: list[str]) -> None:
        if names:
            self.found.faults.append(f"{what} is not there: {', '.join(sorted(names)[:NAMED])}")


def strangers(wanted: Iterator[int], there: Iterator[int]) -> int:
    """How many of those that are wanted are not there; both come in their order, each as often as it is."""
    missing, one = 0, next(there, None)
    for each in wanted:
        while one is not None and one < each:
            one = next(there, None)
        if one == each:
            one = next(there, None)
        else:
            missing += 1
    return missing
