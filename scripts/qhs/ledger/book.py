"""A ledger of a running twin: its clients begin, go on whatever becomes of who began them, and end with a report."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from qhs import layout, pki, reaching, whole
from qhs.errors import UserError
from qhs.inventory import nearest
from qhs.ledger import rows, tries
from qhs.ledger.client import Orders
from qhs.ledger.report import LedgerReport, judged
from qhs.ledger.tries import Try
from qhs.pki import root
from qhs.twin import guests, inside, wires
from qhs.twin.names import Twin
from qhs.twin.topology import Client
from stacks.model import Estate, ledger
from stacks.model.data import PASSWORDS, members
from stacks.provider.secret.client import StoreError
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError, Settings

FLOWS_WITHIN = 30.0
"""Seconds until each client must have had an answer: a gap after nothing says nothing."""
AGAIN = 0.2
STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Part:
    """One client."""

    run: str
    place: str
    """The segment that it stands in."""
    web: bool
    """It asks the application, not the databases."""


@dataclass(frozen=True)
class Ledger:
    """A client of the databases in the applications' segment of a site, and one of the application among people."""

    twin: Twin
    estate: Estate
    site: str
    parts: tuple[Part, ...]

    @classmethod
    def start(cls, twin: Twin, estate: Estate, site: str, *, web: bool) -> Self:
        """Begin one, and return once each client has had an answer: it is left again where none comes.

        `site`: whose segment the client of the databases stands in, so not the one that is to be lost. There may be one
        at each. `web`: with a client of the application too; it stands where no centre is, so that one ledger has it.
        Raises UserError.
        """
        _standing(twin)
        if cls.stands(twin, site):
            way_out = f"`qhs ledger stop {site}`, which says what it came to"
            raise UserError(f"the ledger at {site} was begun before and not ended: {_note(twin, site)}", way_out)
        run = f"{site}-{datetime.now(UTC):{STAMP}}"
        parts = [Part(run, ledger.application_zone(estate, site).name, web=False)]
        parts += [Part(f"{run}-web", ledger.people(estate).name, web=True)] if web else []
        _folder(twin).mkdir(exist_ok=True, mode=0o700)
        whole.write(_note(twin, site), json.dumps([asdict(one) for one in parts]))
        found = cls(twin, estate, site, tuple(parts))
        try:
            found._begin()
        except BaseException:
            found.leave()
            raise
        return found

    @staticmethod
    def stands(twin: Twin, site: str) -> bool:
        """Whether one was begun at a site and not ended, by whoever did."""
        return _note(twin, site).exists()

    @classmethod
    def found(cls, twin: Twin, estate: Estate, site: str) -> Self:
        """The one that was begun at a site, by whoever did. Raises UserError where none was."""
        if not cls.stands(twin, site):
            raise UserError(f"no ledger was begun at {site}: there is no {_note(twin, site)}", "`qhs ledger run`")
        parts = json.loads(_note(twin, site).read_text())
        return cls(twin, estate, site, tuple(Part(**one) for one in parts))

    @property
    def begun(self) -> datetime:
        """When, to the second."""
        return datetime.strptime(self.parts[0].run, f"{self.site}-{STAMP}").replace(tzinfo=UTC)

    def goes_on(self) -> bool:
        """Whether each client began, and none was told to end."""
        return not self._never() and all(tries.ended(self.file(part)) is None for part in self.parts)

    def stop(self) -> list[LedgerReport]:
        """End it and leave it: what it comes to, a report a client. Its files stay.

        Raises UserError as `told` does; nothing is left where a client was killed as it began.
        """
        if self._never():
            self.leave()
        found = self.told()
        self.leave()
        return found

    def told(self) -> list[LedgerReport]:
        """End it: what it comes to, a report a client; the same if it is told again.

        Raises UserError where a client never began, and while the rows cannot be read.
        """
        now = time.monotonic()
        self.end()
        if never := self._never():
            raise UserError(
                f"the ledger at {self.site}: found no line of {', '.join(never)}, which was killed as it began; "
                "wanted what it tried",
                "`qhs ledger run` begins another one",
            )
        self._stand_there()
        password = self._password()
        found = []
        for part in self.parts:
            there = self._asked(password, partial(rows.read, part.run))
            # Whoever was killed after that ended them: since then they had nothing to try.
            ended = tries.ended(self.file(part))
            found.append(judged(part.run, *tries.read(self.file(part)), there, now if ended is None else ended))
        return found

    def _never(self) -> list[str]:
        """The clients that were killed as they began."""
        return [part.run for part in self.parts if not tries.read(self.file(part))[0]]

    def end(self) -> None:
        """Have its clients end at once. What they wrote stays, for `stop` to read."""
        guests.end(self._stands())

    def die(self) -> None:
        """Have its clients die as they are: none notes that it was told to."""
        guests.end(self._stands(), by=[signal.SIGKILL])

    def _stands(self) -> list[Path]:
        return [self.twin.netns_path(self._stand(part).name) for part in self.parts]

    def file(self, part: Part) -> Path:
        """In which its client writes down what it tried."""
        return _folder(self.twin) / f"{part.run}.jsonl"

    def tries(self, part: Part) -> list[Try]:
        """Those that are over by now."""
        return tries.read(self.file(part))[1]

    def _stand_there(self) -> None:
        """Each client's network, also where a crash of the host or an `up` since has taken it."""
        standing = _standing(self.twin)
        for stand in map(self._stand, self.parts):
            if stand.name not in standing:
                wires.make_client(self.twin, stand)

    def _begin(self) -> None:
        self._stand_there()
        password = self._password()
        for part in self.parts:
            key = secrets.token_urlsafe(24)
            self._asked(password, partial(rows.begin, part.run, key))
            self._launch(part, self._orders(part, key if part.web else password))
        deadline = time.monotonic() + FLOWS_WITHIN
        for part in self.parts:
            while not any(one.wrong is None for one in self.tries(part)):
                if time.monotonic() > deadline:
                    raise self._nothing(part)
                time.sleep(AGAIN)

    def _nothing(self, part: Part) -> UserError:
        why = next((f"{one.wrong}: {one.said}" for one in reversed(self.tries(part))), "that it tried nothing")
        return UserError(
            f"the ledger's client in {part.place}: found {why} for {FLOWS_WITHIN:.0f} s; wanted an answer",
            f"`qhs cloud status` and `qhs lease status` say what is amiss, {self.file(part)} what was tried",
        )

    def _launch(self, part: Part, orders: Orders) -> None:
        """Beyond the end of this process: whoever goes on with a drill finds that its clients did."""
        command = inside.command(self.twin, [sys.executable, "-m", "qhs.ledger.client"], self._stand(part).name)
        log = self.file(part).with_suffix(".log")
        with log.open("ab") as said, tempfile.TemporaryFile() as told:
            told.write(orders.model_dump_json().encode())
            told.seek(0)
            subprocess.Popen(command, stdin=told, stdout=said, stderr=said, start_new_session=True)

    def _orders(self, part: Part, password: str) -> Orders:
        estate, asked = self.estate, ledger.application_at if part.web else ledger.databases_at
        site = estate.places[part.place].site or self.site
        return Orders(
            file=self.file(part),
            run=part.run,
            name=asked(estate),
            web=part.web,
            resolvers=nearest(estate, site, ledger.NAMES),
            root=root.certificate(pki.folder(self.twin)),
            sites={name: [str(one.ipv4), str(one.ipv6)] for name, one in estate.inventory.sites.items()},
            role=ledger.database(estate),
            password=password,
        )

    def _stand(self, part: Part) -> Client:
        return layout.outsider(self.estate, self.estate.places[part.place])

    def _asked[T](self, password: str, ask: Callable[[Orders], T]) -> T:
        """By the client of the databases, whose database has the rows of both."""
        first = self.parts[0]
        orders = self._orders(first, password)
        return inside.call(self.twin.netns_path(self._stand(first).name), lambda: ask(orders))

    def _password(self) -> str:
        """Of the role, from the secret store of whichever site answers. Raises UserError."""
        own = reaching.settings(self.estate, self.twin)
        said = []
        for site in members(self.estate):
            try:
                if kept := inside.call(self.twin.netns_path(), partial(self._kept, own, site)):
                    return str(kept["password"])
                said.append(f"{site}: none")
            except (StoreError, ProviderError) as error:
                said.append(f"{site}: {error}")
        raise UserError(f"the password of the database of drills: {'; '.join(said)}", "`qhs up`, which makes it")

    def _kept(self, own: Settings, site: str) -> dict[str, Any] | None:
        return store(own, site).secret(f"{PASSWORDS}/{ledger.database(self.estate)}")

    def leave(self) -> None:
        """Nothing of it stands any more, and nobody reads what it came to. Its files stay."""
        self.end()
        _, standing = wires.namespaces(self.twin)
        for part in self.parts:
            if (name := self._stand(part).name) in standing:
                wires.remove_client(self.twin, name)
        _note(self.twin, self.site).unlink(missing_ok=True)


def _standing(twin: Twin) -> list[str]:
    """The clients that have a network. Raises UserError where the twin itself has none."""
    up, clients = wires.namespaces(twin)
    if not up:
        raise UserError(f"twin {twin.name} is not up", "qhs up")
    return clients


def _folder(twin: Twin) -> Path:
    return twin.state / "ledgers"


def _note(twin: Twin, site: str) -> Path:
    """Which clients the ledger at a site has, while it goes on."""
    return _folder(twin) / f"{site}.json"
