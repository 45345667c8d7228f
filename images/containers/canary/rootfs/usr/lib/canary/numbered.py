"""Writes the numbered rows of a drill and reads them back, for whoever has the key of a run that was begun."""

import re
import socket
import threading
from contextlib import suppress
from typing import Any

import psycopg
import web
from given import ROOT, settings
from store import Store

NUMBER = re.compile("[0-9]{1,9}")
SECONDS = 1
"""Whoever asks waits no longer: by then it failed."""
WRITE = """
insert into ledger.rows (run, number, site) select run, %(number)s, %(site)s from ledger.runs where key = %(key)s
"""
LOOK = """
select count(*) from ledger.rows join ledger.runs using (run) where key = %(key)s and number = %(number)s
"""


class NobodyError(Exception):
    """No run has this key."""


class Rows:
    """By one connection for all who ask, made anew after each failure. Raises what the database, or its store, said."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._password = ""
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def written(self, key: str, number: int) -> int:
        """How many there are of this number once it is written. Raises TimeoutError where others are before."""
        if not self._turn.acquire(timeout=SECONDS):
            raise TimeoutError("others wait for the database")
        try:
            return self._written({"key": key, "number": number, "site": settings()["site"]})
        except psycopg.Error:
            self._drop()
            raise
        finally:
            self._turn.release()

    def _written(self, row: dict[str, Any]) -> int:
        there = self._connected()
        # A server that is stopped answers nothing, and breaks nothing off either.
        timer = threading.Timer(SECONDS, _cut, [there.fileno()])
        timer.start()
        try:
            if there.execute(WRITE, row).rowcount == 0:
                raise NobodyError
            ((count,),) = there.execute(LOOK, row).fetchall()
            return int(count)
        finally:
            timer.cancel()

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        own = settings()["databases"]
        (name,) = own["names"]
        if self._connection is None:
            self._password = self._password or Store().read(f"databases/{name}")["password"]
            self._connection = psycopg.connect(
                host=own["host"], user=name, dbname=name, password=self._password,
                sslmode="verify-full", sslrootcert=str(ROOT), connect_timeout=2, autocommit=True,
            )  # fmt: skip
        return self._connection

    def _drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


def _cut(connection: int) -> None:
    with suppress(OSError), socket.socket(fileno=connection) as one:
        try:
            one.shutdown(socket.SHUT_RDWR)
        finally:
            one.detach()  # the connection closes it


ROWS = Rows()


def answered(path: str, authorization: str) -> tuple[int, dict[str, Any]]:
    """The status of an answer, and what it says."""
    number, key = path.removeprefix("/ledger/"), authorization.removeprefix("Bearer ")
    if not NUMBER.fullmatch(number):
        return 404, {"error": "found no number; wanted /ledger/NUMBER"}
    try:
        return 200, {"site": settings()["site"], "rows": ROWS.written(key, int(number))}
    except NobodyError:
        return 403, {"error": "no run has this key"}
    except (psycopg.Error, web.RefusedError, TimeoutError) as error:
        return 503, {"error": " ".join(str(error).split())[:300]}
