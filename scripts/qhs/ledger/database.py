"""A connection to a database that keeps nobody waiting longer than it is told, whatever the server does.

By libpq itself. Psycopg's own connections give a server two seconds at least to let them in, and one that is stopped in
the middle of a statement all the time in the world; here a second without an answer is a failure.
"""

from __future__ import annotations

import select
import time
from collections.abc import Mapping, Sequence
from typing import Self

from psycopg import Error, pq
from psycopg.conninfo import make_conninfo

from qhs.ledger.tries import Wrong

READ_ONLY = "25006"
"""What servers call it that a statement would write where nothing may."""
BROKEN = ("08", "57P")
"""How it begins what they call that they, or a pool before them, end a connection or take none now."""
ANSWERS = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)


class TryError(Exception):
    """A try came to nothing: its kind, and what was said."""

    def __init__(self, wrong: Wrong, said: str = "") -> None:
        self.wrong, self.said = wrong, " ".join(said.split())[:200]
        super().__init__(f"{wrong}: {self.said}")


class Connection:
    """Moments until which it waits are those of `time.monotonic`. Raises TryError."""

    def __init__(self, given: Mapping[str, str], deadline: float) -> None:
        self._server = pq.PGconn.connect_start(make_conninfo("", **given).encode())
        try:
            self._come_about(deadline)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Says goodbye to nobody who does not listen."""
        self._server.finish()

    def ask(self, statement: str, values: Sequence[str], deadline: float) -> list[list[str]]:
        """The rows of the answer."""
        try:
            self._server.send_query_params(statement.encode(), [one.encode() for one in values])
            while self._server.flush():
                self._wait(select.POLLOUT, deadline)
            return self._answer(deadline)
        except Error as error:
            raise TryError(Wrong.CONNECTION, str(error)) from None

    def _come_about(self, deadline: float) -> None:
        while (now := self._server.connect_poll()) != pq.PollingStatus.OK:
            if now == pq.PollingStatus.FAILED:
                raise TryError(Wrong.CONNECTION, self._server.error_message.decode(errors="replace"))
            self._wait(select.POLLIN if now == pq.PollingStatus.READING else select.POLLOUT, deadline)
        self._server.nonblocking = 1

    def _answer(self, deadline: float) -> list[list[str]]:
        rows: list[list[str]] = []
        while True:
            while self._server.is_busy():
                self._wait(select.POLLIN, deadline)
                self._server.consume_input()
            result = self._server.get_result()
            if result is None:
                return rows
            if result.status not in ANSWERS:
                raise _refusal(result)
            rows += [
                [(result.get_value(row, column) or b"").decode() for column in range(result.nfields)]
                for row in range(result.ntuples)
            ]

    def _wait(self, events: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._server.socket, events)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TryError(Wrong.SILENT)


def _refusal(result: pq.abc.PGresult) -> TryError:
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    broken = not state or state.startswith(BROKEN)  # no state: libpq's own word, as the server is gone
    wrong = Wrong.READ_ONLY if state == READ_ONLY else Wrong.CONNECTION if broken else Wrong.REFUSED
    return TryError(wrong, result.error_message.decode(errors="replace"))
