"""Signatures a second through a site's service, by form and clients, beside those of the bare device."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles

from pydantic import BaseModel
from rich.table import Table

from policies.baseline import Baseline
from qhs import pki, ruleset_access
from qhs.pki.credentials import SIGNATORIES
from qhs.progress import Progress
from qhs.reaching import settings, within
from qhs.signing import asker
from qhs.signing.client import Credential, SigningService
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import Estate, signing
from stacks.model.catalogue import Strict
from stacks.provider.carried import Carried
from stacks.provider.secret.stores import store
from stacks.provider.signing.device import TALK, USER, Device
from stacks.provider.signing.devices import pins_at

SECONDS = 5
LOGIN = 0.5
"""Seconds for a process to log in to the device: one at a time can, and all are to sign at the same time."""
CLIENTS = (1, 8, 16)
FORMS = ("raw", "cades", "time-stamp")
DOCUMENTS = "cades"
PROCESSES = os.cpu_count() or 1
CONTROL = "C-SIG-03"


class Measured(BaseModel):
    """One way to sign."""

    what: str
    clients: int
    rate: float
    """Signatures a second."""
    p95_ms: float | None = None
    """Of an answer; none: nobody waited for one."""


class Capacity(Strict):
    """What signing must cope with (C-SIG-03)."""

    users: int
    within_seconds: int
    """In which each of them signs once."""
    p95_ms: float
    """In which 95 % of them have their signature."""

    @property
    def rate(self) -> float:
        """Signatures a second."""
        return self.users / self.within_seconds


class BenchReport(BaseModel):
    """What `qhs bench sign --json` prints."""

    environment: str
    algorithm: str
    cores: int
    measured: list[Measured]
    wanted: Capacity

    @property
    def short(self) -> list[str]:
        """In what a signature as documents carry it, asked by most clients, falls short of what is wanted."""
        asked = next(one for one in self.measured if (one.what, one.clients) == (DOCUMENTS, CLIENTS[-1]))
        found = []
        if asked.rate < self.wanted.rate:
            found.append(f"found {asked.rate:.1f} signatures a second, wanted {self.wanted.rate:.1f}")
        if asked.p95_ms is None or asked.p95_ms > self.wanted.p95_ms:
            found.append(f"found 95 % of answers within {asked.p95_ms} ms, wanted {self.wanted.p95_ms:.0f}")
        return found


@dataclass(frozen=True)
class Where:
    """What a client needs: all of it plain, as it goes to another process."""

    namespace: Path
    address: dict[str, str]
    """By service."""
    domain: str
    root: Path
    credential: Path
    key: str


def bench(estate: Estate, twin: Twin, progress: Progress, baseline: Baseline) -> BenchReport:
    """At the site that founds. The clients run beside it on the same cores, so a service of its own would be faster."""
    site, key = estate.inventory.signing.founds, signing.signatories(estate)[0]
    measured = [bare(estate, twin, site, key, clients) for clients in CLIENTS]
    where = _where(estate, twin, site, key)
    for form in FORMS:
        for clients in CLIENTS:
            progress(f"bench: {form}, {clients} clients")
            measured.append(through_service(where, form, clients))
    return BenchReport(
        environment=estate.inventory.environment,
        algorithm=signing.ALGORITHM,
        cores=PROCESSES,
        measured=measured,
        wanted=Capacity.model_validate(baseline.thresholds(CONTROL)),
    )


def bare(estate: Estate, twin: Twin, site: str, key: str, clients: int) -> Measured:
    """The device alone, asked by as many processes on its host."""
    host, config = signing.devices(estate, site)[0], ruleset_access.write(twin)
    own = settings(estate, twin)
    pins = within(twin, lambda: store(own, site).secret(pins_at(host, signing.USERS))) or {}
    given = {"token": signing.USERS, "pin": str(pins["pin"]), "label": key, "seconds": str(SECONDS)}
    with ExitStack() as connections:

        def connect() -> Carried:
            carried = Carried.talking(config, USER, host, TALK, inside.command(twin, []))
            connections.callback(carried.close)
            return carried

        processes = [Device(host, connect) for _ in range(clients)]

        def measured() -> int:
            for one in processes:  # one after the other: sshd drops some of many that come at once
                one.ask("tokens")
            begin = str(time.time() + LOGIN * clients)
            with ThreadPoolExecutor(clients) as pool:
                return sum(pool.map(lambda one: int(one.ask("measure", begin=begin, **given)["signatures"]), processes))

        made = within(twin, measured)
    return Measured(what="device", clients=clients, rate=round(made / SECONDS, 1))


def through_service(where: Where, form: str, clients: int) -> Measured:
    """Clients in as many processes as there are cores, each client with a connection of its own."""
    processes = min(clients, PROCESSES)
    shares = [clients // processes + (one < clients % processes) for one in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(_clients, where, form, 0.2), shares))  # each has its modules by then
        took = [one for share in pool.map(partial(_clients, where, form, SECONDS), shares) for one in share]
    slow = quantiles(took, n=20)[-1] if len(took) > 1 else 0.0
    return Measured(what=form, clients=clients, rate=round(len(took) / SECONDS, 1), p95_ms=round(1000 * slow, 1))


def _clients(where: Where, form: str, seconds: float, count: int) -> list[float]:
    """How many seconds each answer took."""
    return inside.call(where.namespace, lambda: _together(where, form, seconds, count))


def _together(where: Where, form: str, seconds: float, count: int) -> list[float]:
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(count) as pool:
        return [one for took in pool.map(lambda _: _until(_asking(where, form), end), range(count)) for one in took]


def _until(ask: Callable[[], object], end: float) -> list[float]:
    took = []
    while (began := time.monotonic()) < end:
        ask()
        took.append(time.monotonic() - began)
    return took


def _asking(where: Where, form: str) -> Callable[[], object]:
    """One question of a client, over a connection that stays."""
    name = "time-stamp" if form == "time-stamp" else "signer"
    service = SigningService(where.address[name], f"{name}.{where.domain}", where.root, where.credential)
    if form == "time-stamp":
        return lambda: service.stamp(query(os.urandom(32)))
    credential = Credential.read(where.credential)
    return lambda: service.sign(credential, where.key, hashlib.sha256(os.urandom(32)).digest(), form=form)


def query(digest: bytes) -> bytes:
    """A request for a time-stamp over a SHA-256 digest (RFC 3161)."""
    return bytes.fromhex("30390201013031300d060960864801650304020105000420") + digest + bytes.fromhex("0101ff")


def _where(estate: Estate, twin: Twin, site: str, key: str) -> Where:
    own = pki.ensure(twin)
    return Where(
        namespace=asker.namespace(estate, twin, site),
        address={one.service: one.targets[0].texts()[0] for one in estate.served(site)},
        domain=estate.domain(site),
        root=own / "root.crt",
        credential=SIGNATORIES.current(own, key),
        key=key,
    )


def table(report: BenchReport) -> Table:
    """A line a way to sign."""
    rows = Table("what", "clients", "a second", "p95 ms", title=f"{report.algorithm} on {report.cores} cores")
    for one in report.measured:
        rows.add_row(one.what, str(one.clients), f"{one.rate:.1f}", "" if one.p95_ms is None else f"{one.p95_ms:.1f}")
    wanted = report.wanted
    rows.add_section()
    rows.add_row(f"wanted of {DOCUMENTS} ({CONTROL})", str(CLIENTS[-1]), f"{wanted.rate:.1f}", f"{wanted.p95_ms:.1f}")
    return rows
