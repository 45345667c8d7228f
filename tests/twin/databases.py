"""The databases of the suite's twin, as applications and as who administers them."""

from __future__ import annotations

import json
import secrets
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from qhs import pki
from qhs.twin import boot, inside, outage
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.certificates import service_name
from stacks.model.data import SERVICE
from stacks.model.estate import DATABASE
from tests.twin.conftest import Run
from tests.twin.hosts import Hosts

ESTATE = load("twin")
SITES = SITE, OTHER = ("qhdc", "ndc")
"""The one that takes writes, and the one with copies."""
MEMBERS = {site: [one.name for one in ESTATE.with_role(site, DATABASE)] for site in SITES}
WRITTEN = "create table written (number serial primary key)"
WRITE = "insert into written default values returning number"
SQL = "sudo -u postgres psql -h /run/qhs-database -AtX -v ON_ERROR_STOP=1"


def told(hosts: Hosts, members: list[str], statement: str, database: str = "postgres") -> dict[str, str]:
    """What each member answers to a statement; nothing where it does not take it."""
    asked = f"{SQL} -d {database} -c {shlex.quote(statement)} || true"
    return {name: said.strip() for name, said in hosts.say(asked, members).items()}


def leader(hosts: Hosts, site: str) -> str:
    """Who takes writes at a site."""
    (found,) = [name for name, said in told(hosts, MEMBERS[site], "select pg_is_in_recovery()").items() if said == "f"]
    return found


def first_copy(hosts: Hosts, site: str, of: str) -> str:
    """Who gets the log from another site, and gives it to the others of its own; empty: nobody does."""
    sends = told(hosts, MEMBERS[site], "select sender_host from pg_stat_wal_receiver where status = 'streaming'")
    there = [ESTATE.machines[name].addresses[0] for name in MEMBERS[of]]
    return next((name for name, said in sends.items() if said in there), "")


def address(site: str) -> str:
    return next(one.targets[0].texts()[0] for one in ESTATE.served(site) if one.service == SERVICE)


def connect(twin: Twin, site: str, password: str, **other: str) -> psycopg.Connection[tuple[int]]:
    """As an application; for whoever is in the right namespace already."""
    given = {
        "host": service_name(ESTATE, SERVICE, site),
        "hostaddr": address(site),
        "user": "probe",
        "password": password,
        "dbname": "probe",
        "sslmode": "verify-full",
        "sslrootcert": str(pki.folder(twin) / "root.crt"),
        "connect_timeout": "2",
        "tcp_user_timeout": "2000",
        # Who waits for an answer of a machine that has the address no longer would else wait for ever.
        "keepalives_idle": "1",
        "keepalives_interval": "1",
        "keepalives_count": "2",
    }
    return psycopg.connect(**given | other, autocommit=True)


def where(twin: Twin, site: str) -> Path:
    return Path(f"/proc/{boot.group(twin, f'{site}-app1').init()}/ns/net")


@contextmanager
def database(hosts: Hosts, site: str) -> Iterator[str]:
    """One of its own, with a password for it."""
    password = secrets.token_urlsafe(24)
    first = [leader(hosts, site)]
    told(hosts, first, f"create role probe login password '{password}'")
    told(hosts, first, "create database probe owner probe")
    try:
        yield password
    finally:
        first = [leader(hosts, site)]
        told(hosts, first, "drop database probe with (force)")
        told(hosts, first, "drop role probe")


def active(qhs: Run) -> str:
    """The site that has the lease; empty: none."""
    return str(json.loads(qhs("lease", "status", "--json").stdout)["active"])


@contextmanager
def cut_off(twin: Twin, site: str) -> Iterator[None]:
    """A site from the others, which reach each other, and from nothing of its own."""
    try:
        outage.cut(twin, site)
        yield
    finally:
        outage.heal(twin, site)


class Writes(list[float]):
    """When each that was acknowledged was."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: set[int] = set()
        """Of their rows."""


@contextmanager
def writing(twin: Twin, site: str, password: str) -> Iterator[Writes]:
    """An application that writes and goes on trying."""
    acknowledged = Writes()
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.1):
            try:
                with connect(twin, site, password) as connection:
                    while not over.wait(0.02):
                        (number,) = connection.execute(WRITE).fetchone()
                        acknowledged.append(time.monotonic())
                        acknowledged.numbers.add(number)
            except psycopg.Error:
                continue

    thread = threading.Thread(target=lambda: inside.call(where(twin, site), write))
    thread.start()
    try:
        yield acknowledged
    finally:
        over.set()
        thread.join()
