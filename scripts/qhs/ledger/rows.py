"""The tables of runs in the database of drills: begun before a client writes, read once it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from qhs.errors import UserError
from qhs.ledger.client import Orders, databases
from qhs.ledger.database import Connection, TryError
from qhs.ledger.report import Row

WITHIN = 30.0
"""Seconds for all that is asked here: databases may just have come to another site."""
AGAIN = 0.5
PREPARE = (
    "create schema if not exists ledger",
    """create table if not exists ledger.runs (
         run text primary key, key text not null unique, begun timestamptz not null default now())""",
    # No number is unique: what is there twice is to be seen.
    """create table if not exists ledger.rows (
         place bigint generated always as identity, run text not null, number bigint not null, site text not null,
         at timestamptz not null default clock_timestamp())""",
    "create index if not exists rows_of on ledger.rows (run, number)",
    # Of a run that is a day old the file and its report are kept.
    "delete from ledger.rows using ledger.runs where rows.run = runs.run and begun < now() - interval '1 day'",
    "delete from ledger.runs where begun < now() - interval '1 day'",
)
BEGIN = "insert into ledger.runs (run, key) values ($1, $2) on conflict (run) do nothing"
THERE = "select to_regclass('ledger.rows') is not null"
READ = "select place, number from ledger.rows where run = $1"


def begin(run: str, key: str, orders: Orders) -> None:
    """Have the tables, and the run among them. Raises UserError."""

    def ask(there: Connection, deadline: float) -> None:
        for statement in PREPARE:
            there.ask(statement, [], deadline)
        there.ask(BEGIN, [run, key], deadline)

    _asked(orders, ask)


def read(run: str, orders: Orders) -> list[Row]:
    """All rows of a run: none where the very tables were lost with them. Raises UserError."""

    def ask(there: Connection, deadline: float) -> list[list[str]]:
        return there.ask(READ, [run], deadline) if there.ask(THERE, [], deadline) == [["t"]] else []

    found = _asked(orders, ask)
    return [Row(int(place), int(number)) for place, number in found]


def _asked[T](orders: Orders, ask: Callable[[Connection, float], T]) -> T:
    """Again until it is done: each statement here may be said twice."""
    deadline = time.monotonic() + WITHIN
    while True:
        try:
            with databases(orders, deadline) as there:
                return ask(there, deadline)
        except TryError as error:
            if time.monotonic() > deadline - AGAIN:
                raise UserError(
                    f"{orders.name}: found {error} for {WITHIN:.0f} s; wanted the rows of drills",
                    "`qhs lease status` says which site takes writes; then run the same command again",
                ) from None
        time.sleep(AGAIN)
