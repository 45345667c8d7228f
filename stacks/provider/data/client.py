"""A plain client of a site's databases. Knows nothing of Pulumi."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import sql

type Statement = sql.SQL | sql.Composed
type Connect = Callable[[str], psycopg.Connection[tuple[Any, ...]]]
"""To a database, as whoever makes roles and databases."""

FIRST = "postgres"
"""The database that is always there."""
WRITER = "written by "


class DataError(Exception):
    """The databases did not do what they were asked: whose, what they said, the way out."""


class Server:
    """The databases of the estate, by one connection to whichever member takes writes."""

    def __init__(self, sites: str, connect: Connect) -> None:
        """`sites`: where that may be, in words."""
        self._sites, self._connect = sites, connect
        self._turn = threading.RLock()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def ask(self, statement: Statement, *values: object) -> list[tuple[Any, ...]]:
        """The rows of an answer. Raises DataError."""
        with self._turn:
            try:
                return self._asked(statement, values)
            except psycopg.OperationalError:
                self._connection = None  # the member that led is gone: another one may
            except psycopg.Error as error:
                raise self._fault(error) from None
            return self._told(lambda: self._asked(statement, values))

    def host(self) -> str:
        """What the certificate of the member that takes writes is for. Raises DataError."""
        with self._turn:
            self.ask(sql.SQL("select"))
            return self._told(self._open).info.host

    def admit(self, name: str, password: str) -> None:
        """Have a role let in by this password, which the server and its log are not told. Raises DataError."""

        def change() -> None:
            connection = self._open()
            verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
            with connection.transaction():
                connection.execute("set local log_statement = 'none'")
                connection.execute(
                    sql.SQL("alter role {} password {}").format(sql.Identifier(name), sql.Literal(verifier))
                )

        with self._turn:
            self._told(change)

    def has_tables(self, database: str) -> bool:
        """Whether anybody has made one there. Raises DataError."""

        def look() -> bool:
            with self._connect(database) as connection:
                found = connection.execute(
                    "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace "
                    "where c.relkind in ('r', 'p', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
                )
                return found.fetchone() is not None

        return self._told(look)

    def _asked(self, statement: Statement, values: Sequence[object]) -> list[tuple[Any, ...]]:
        answer = self._open().execute(statement, values or None)
        return answer.fetchall() if answer.description else []

    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect(FIRST)
        return self._connection

    def _told[T](self, ask: Callable[[], T]) -> T:
        """Every fault as one message."""
        try:
            return ask()
        except psycopg.Error as error:
            raise self._fault(error) from None

    def _fault(self, error: psycopg.Error) -> DataError:
        said = " ".join(str(error.diag.message_primary or error).split())
        return DataError(
            f"the databases of {self._sites}: found {said}; wanted an answer. Way out: `qhs up`, which sets them "
            "up, or see `journalctl -u qhs-database` at their machines"
        )
