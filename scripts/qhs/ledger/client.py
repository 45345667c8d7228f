"""The outside client: `python -m qhs.ledger.client`, what it is to do on standard input, until it is told to end.

It stands in a network namespace of its own and knows a name, resolvers, and a password: not which site is active, nor
what anybody does about a failure. Every lane asks for the name's address anew after each.
"""

from __future__ import annotations

import signal
import ssl
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from pathlib import Path

from dns.exception import DNSException
from dns.resolver import Resolver
from pydantic import BaseModel, ConfigDict

from qhs.ledger import database, web
from qhs.ledger.database import TryError
from qhs.ledger.tries import Ended, File, Lane, Try, Wrong, begun, read

ASK_NEXT = 0.3
"""Seconds after which another resolver is asked: the first one's site may be what is gone."""
ENDS = {signal.SIGTERM, signal.SIGINT}
LOOKS = 0.2
"""Seconds after which it is seen that a lane ended by itself."""
WRITE = "insert into ledger.rows (run, number, site) values ($1, $2, $3)"
LOOK = "select count(*) from ledger.rows where run = $1 and number = $2"


class Orders(BaseModel):
    """What it is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    run: str
    name: str
    """Public, of the databases or of the application."""
    web: bool
    """It is the application's."""
    resolvers: list[str]
    root: Path
    """It vouches for whoever answers by the name."""
    sites: dict[str, list[str]]
    """Their prefixes: it tells by the address which one answered."""
    role: str
    """As which it comes into the databases; the one that is its own has that name too."""
    password: str
    """Of the role; of the application the key by which that knows whose rows these are."""
    every: float = 1 / 20
    patience: float = 1.0


class Numbers:
    """Of rows: each is tried once, also by a client that goes on with the file of one that was ended."""

    def __init__(self, first: int) -> None:
        self._next = first
        self.acknowledged = 0
        """The last one; 0: none."""

    def take(self) -> int:
        self._next += 1
        return self._next


class Asking(ABC):
    """One lane: a try each time that one is due, and a new connection after each failure."""

    lane: Lane

    def __init__(self, orders: Orders, numbers: Numbers) -> None:
        self._orders, self._numbers = orders, numbers
        self._address = self._site = ""

    def tried(self) -> Try | None:
        """One try; None: there is nothing to ask for yet."""
        number = self.number()
        if number is None:
            return None
        at, wrong, said = time.monotonic(), None, ""
        deadline = at + self._orders.patience
        try:
            self.ask(number, deadline)
        except TryError as error:
            wrong, said = error.wrong, error.said
            self.drop()
        found = Try(
            lane=self.lane, number=number, at=at, took=time.monotonic() - at,
            address=self._address, site=self._site, wrong=wrong, said=said,
        )  # fmt: skip
        if wrong is None and self.lane != "read":
            self._numbers.acknowledged = number
        return found

    def number(self) -> int | None:
        """Of the row to write."""
        return self._numbers.take()

    @abstractmethod
    def ask(self, number: int, deadline: float) -> None:
        """Raises TryError."""

    @abstractmethod
    def drop(self) -> None:
        """What it is connected to."""

    def led(self, deadline: float) -> str:
        """The address that the name leads to now. Raises TryError."""
        self._address = self._site = ""
        self._address = found = resolved(self._orders, deadline)
        own = ip_address(found)
        at = (site for site, prefixes in self._orders.sites.items() if any(own in ip_network(one) for one in prefixes))
        self._site = next(at, "")
        return found


class AskingDatabase(Asking):
    """By SQL."""

    def __init__(self, orders: Orders, numbers: Numbers) -> None:
        super().__init__(orders, numbers)
        self._connection: database.Connection | None = None

    def drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def connected(self, deadline: float) -> database.Connection:
        if self._connection is None:
            self._connection = database.Connection(given(self._orders, self.led(deadline)), deadline)
        return self._connection


class Writing(AskingDatabase):
    """A row a try."""

    lane = "write"

    def ask(self, number: int, deadline: float) -> None:
        there = self.connected(deadline)
        there.ask(WRITE, [self._orders.run, str(number), self._site], deadline)


class Reading(AskingDatabase):
    """The row that was acknowledged last, by a connection of its own: what takes no writes may still be read."""

    lane = "read"

    def number(self) -> int | None:
        return self._numbers.acknowledged or None

    def ask(self, number: int, deadline: float) -> None:
        if self.connected(deadline).ask(LOOK, [self._orders.run, str(number)], deadline) == [["0"]]:
            raise TryError(Wrong.MISSING, f"row {number}")


class Calling(Asking):
    """A row a try, which the application writes and reads back."""

    lane = "web"

    def __init__(self, orders: Orders, numbers: Numbers) -> None:
        super().__init__(orders, numbers)
        self._trusts = ssl.create_default_context(cafile=orders.root)
        self._connection: web.Connection | None = None

    def drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def ask(self, number: int, deadline: float) -> None:
        if self._connection is None or not self._connection.open:
            self.drop()
            self._connection = web.Connection(self.led(deadline), self._orders.name, self._trusts, deadline)
        answer = self._connection.ask("POST", f"/ledger/{number}", self._orders.password, deadline)
        self._site = str(answer["site"])
        if answer["rows"] == 0:
            raise TryError(Wrong.MISSING, f"row {number}")


def resolved(orders: Orders, deadline: float) -> str:
    """The address that the name leads to now, by whichever resolver answers. Raises TryError."""
    resolver = Resolver(configure=False)
    resolver.nameservers, resolver.timeout = list(orders.resolvers), ASK_NEXT
    try:
        answer = resolver.resolve(orders.name, "A", lifetime=max(0.001, deadline - time.monotonic()), search=False)
    except DNSException as error:
        silent = time.monotonic() >= deadline
        raise TryError(Wrong.SILENT if silent else Wrong.NAME, str(error)) from None
    return str(answer[0].to_text())


def given(orders: Orders, address: str) -> dict[str, str]:
    """How the databases are come into at an address."""
    return {
        "host": orders.name,
        "hostaddr": address,
        "user": orders.role,
        "password": orders.password,
        "dbname": orders.role,
        "sslmode": "verify-full",
        "sslrootcert": str(orders.root),
        "gssencmode": "disable",
    }


def databases(orders: Orders, deadline: float) -> database.Connection:
    """A new connection to them by their name. Raises TryError."""
    return database.Connection(given(orders, resolved(orders, deadline)), deadline)


def run(orders: Orders) -> None:
    """Until it is told to end, and the tries that are under way then. Its caller keeps `ENDS` from all threads.

    A lane that is out of its mind takes the others along: half a ledger says nothing.
    """
    _, before = read(orders.file)
    lanes = _lanes(orders, Numbers(max((one.number for one in before), default=0)))
    over = threading.Event()
    with File(orders.file) as file, ThreadPoolExecutor(len(lanes)) as pool:
        file.add(begun(orders.every, orders.patience))
        trying = [pool.submit(_keep_trying, lane, orders.every, file.add, over) for lane in lanes]
        while not any(one.done() for one in trying) and signal.sigtimedwait(ENDS, LOOKS) is None:
            pass
        told = time.monotonic()
        over.set()
        for one in trying:
            one.result()
        file.add(Ended(ended=told))


def _lanes(orders: Orders, numbers: Numbers) -> list[Asking]:
    kinds = [Calling] if orders.web else [Writing, Reading]
    return [kind(orders, numbers) for kind in kinds]


def _keep_trying(lane: Asking, every: float, add: Callable[[Try], None], over: threading.Event) -> None:
    for due in _moments(every):
        if over.wait(max(0.0, due - time.monotonic())):
            break
        if found := lane.tried():
            add(found)
    lane.drop()


def _moments(every: float) -> Iterator[float]:
    """When a try is due. Those that a slow one made late are left out: nobody catches up with a burst."""
    due = time.monotonic()
    while True:
        yield due
        due = max(due + every, time.monotonic())


def main() -> None:
    """As a process of its own."""
    # Waited for, not handled: a handler runs once the main thread wakes up, and that was seen not to.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    run(Orders.model_validate_json(sys.stdin.read()))


if __name__ == "__main__":
    main()
