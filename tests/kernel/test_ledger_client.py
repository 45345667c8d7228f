"""The ledger's client against genuine servers that die, hang and forget, by names of a genuine resolver."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from qhs.bench.descendants import below
from qhs.ledger import rows, tries
from qhs.ledger.client import Orders, databases
from qhs.ledger.database import Connection, TryError
from qhs.ledger.report import Gap, LedgerReport, judged
from qhs.ledger.tries import Try, Wrong
from qhs.pki import root as estates_root
from qhs.twin import inside
from stacks.model.images import CANARY, FOLDER
from tests.kernel.certified import certify, new_root
from tests.kernel.clusters import Wires, wired
from tests.kernel.over_image import over_image
from tests.kernel.test_databases import AS_POSTGRES, BIN
from tests.pace import Pace
from tests.twin.waiting import await_

ADDRESSES = {"qhdc": "10.16.0.1", "ndc": "10.16.0.2", "client": "10.16.0.9"}
SITES = ("qhdc", "ndc")
NAME, ROLE, RUN, PASSWORD, KEY = "postgres.svc.qhs.internal", "dien-tap", "ndc-1", "of a test", "a-key"
SETTINGS = {
    "listen_addresses": "*", "ssl": "on", "ssl_cert_file": "/etc/qhs/tls/machine.crt", "fsync": "off",
    "ssl_key_file": "/etc/qhs/tls/machine.key", "unix_socket_directories": "/run", "shared_buffers": "16MB",
}  # fmt: skip
BEGIN = f'create role "{ROLE}" login password \'{PASSWORD}\';\ncreate database "{ROLE}" owner "{ROLE}";\n'
UNBOUND = """
server:
    interface: {address}
    access-control: 0.0.0.0/0 allow
    do-daemonize: no
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    local-zone: "qhs.internal." static
    local-data: "{name}. 5 IN A {leads}"
"""
# The canary's own server and its own way to the database; its certificate and password are what the test has.
SERVE = f"""
import ssl, sys
from pathlib import Path
sys.path.insert(0, {str(FOLDER / CANARY / "rootfs/usr/lib/canary")!r})
tls = Path(sys.argv[1])
import given
given.ROOT = tls / "ca.crt"
import numbered, serve
numbered.ROWS._password = {PASSWORD!r}
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(tls / "machine.crt", tls / "machine.key")
serve.Server(context).serve_forever()
"""


class Server:
    """A database of a site, in the site's own network."""

    def __init__(self, root: Path, network: Path, site: str) -> None:
        self._root, self._data = root, f"/var/lib/of-{site}"
        self._within = [
            "nsenter", f"--net={network}", "unshare", "--mount", "sh", "-ec", AS_POSTGRES, str(root),
        ]  # fmt: skip
        self._running: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """With the role of drills and its database; `postgres --single` takes one statement a line."""
        subprocess.run(
            [*self._within, f"{BIN}/initdb", "-D", self._data, "--auth=scram-sha-256", "--locale=C.UTF-8", "--no-sync",
             "--pwfile=/etc/superuser"],
            check=True, capture_output=True,
        )  # fmt: skip
        with self._path("pg_hba.conf").open("a") as file:
            file.write("hostssl all all all scram-sha-256\n")
        alone = [*self._within, f"{BIN}/postgres", "--single", "-D", self._data, "postgres"]
        subprocess.run(alone, input=BEGIN.encode(), check=True, capture_output=True)

    def start(self) -> None:
        given = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with (self._root / f"log{self._data.replace('/', '-')}").open("ab") as log:
            self._running = subprocess.Popen(
                [*self._within, f"{BIN}/postgres", "-D", self._data, *given], stdout=log, stderr=log
            )

    def stop(self, how: int = signal.SIGINT) -> None:
        """At once; SIGQUIT: as if it had died."""
        if self._running:
            self._running.send_signal(how)
            self._running.wait()
            self._running = None

    def tell(self, what: int) -> None:
        """To all its processes: to stop in the middle of what they do, or to go on."""
        assert self._running
        for process in (self._running.pid, *below(self._running.pid)):
            with suppress(ProcessLookupError):  # one that was about to end did
                os.kill(process, what)

    def keep(self, other: Server) -> None:
        """What it has now becomes what another one has; it must not run."""
        shutil.rmtree(other._path(), ignore_errors=True)
        subprocess.run(["cp", "-a", self._path(), other._path()], check=True)

    def _path(self, *below_it: str) -> Path:
        return self._root.joinpath(self._data[1:], *below_it)


class Place:
    """Servers of two sites, a resolver beside the client, and what the client is told."""

    def __init__(self, folder: Path, root: Path, wires: Wires) -> None:
        self.folder, self.root, self.wires = folder, root, wires
        certify(root / "etc/qhs/tls", new_root(folder / "root"), NAME, *ADDRESSES.values())
        for file in ("machine.key", "machine.crt"):
            shutil.chown(root / "etc/qhs/tls" / file, *self._postgres())
        (root / "etc/qhs/tls/machine.key").chmod(0o600)
        (root / "etc/superuser").write_text("of nobody\n")
        (root / "run").chmod(0o777)
        (root / "var/lib").chmod(0o777)
        self.servers = {site: Server(root, wires.networks[site], site) for site in SITES}
        self._resolver: subprocess.Popen[bytes] | None = None
        self._ended = 0.0

    def leads(self, site: str) -> None:
        """The name, from now on."""
        self.silence()
        text = UNBOUND.format(address=ADDRESSES["client"], name=NAME, leads=ADDRESSES[site])
        (self.root / "etc/unbound.conf").write_text(text)
        command = ["/usr/sbin/chroot", str(self.root), "/usr/sbin/unbound", "-d", "-c", "/etc/unbound.conf"]
        with (self.root / "log-unbound").open("ab") as log:
            self._resolver = subprocess.Popen([*self.enter("client"), *command], stdout=log, stderr=log)

    def silence(self) -> None:
        if self._resolver:
            self._resolver.kill()
            self._resolver.wait()

    def enter(self, name: str) -> list[str]:
        return ["nsenter", f"--net={self.wires.networks[name]}", "--"]

    def orders(self, file: str, *, web: bool = False) -> Orders:
        return Orders(
            file=self.folder / file, run=RUN, name=NAME, web=web, resolvers=[ADDRESSES["client"]],
            root=estates_root.certificate(self.folder / "root"), role=ROLE, password=KEY if web else PASSWORD,
            sites={site: [f"{ADDRESSES[site]}/32"] for site in SITES},
        )  # fmt: skip

    @contextmanager
    def client(self, orders: Orders) -> Iterator[None]:
        """In its own network, until the block ends."""
        command = [*self.enter("client"), sys.executable, "-m", "qhs.ledger.client"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as running:
            assert running.stdin
            running.stdin.write(orders.model_dump_json().encode())
            running.stdin.close()
            try:
                yield
            finally:
                self._ended = time.monotonic()
                running.terminate()
        assert running.returncode == 0

    def begin(self) -> None:
        self.leads("qhdc")
        self.servers["qhdc"].start()
        inside.call(self.wires.networks["client"], partial(rows.begin, RUN, KEY, self.orders("none")))

    def judged(self, orders: Orders) -> LedgerReport:
        found = inside.call(self.wires.networks["client"], partial(rows.read, RUN, self.orders("none")))
        return judged(RUN, *tries.read(orders.file), found, self._ended)

    def _postgres(self) -> tuple[int, int]:
        line = next(one for one in (self.root / "etc/passwd").open() if one.startswith("postgres:"))
        return int(line.split(":")[2]), int(line.split(":")[3])


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Server]]:
    """And a server of no site, whose database was just begun."""
    with ExitStack() as stack:
        root = stack.enter_context(over_image(tmp_path_factory.mktemp("server")))
        place = Place(tmp_path_factory.mktemp("client"), root, stack.enter_context(wired(ADDRESSES)))
        begun = Server(root, place.wires.networks["qhdc"], "none")
        begun.begin()
        yield place, begun


@pytest.fixture
def place(fresh: tuple[Place, Server]) -> Iterator[Place]:
    """The name leads to the first site, whose database has a run without rows."""
    place, begun = fresh
    begun.keep(place.servers["qhdc"])
    place.begin()
    yield place
    for one in place.servers.values():
        one.stop(signal.SIGQUIT)
    place.silence()


def answered(orders: Orders, since: float = 0) -> list[Try]:
    """Writes that were asked since a moment and acknowledged."""
    return [one for one in tries.read(orders.file)[1] if one.lane != "read" and one.wrong is None and one.at >= since]


def writes_on(orders: Orders, count: int = 15) -> None:
    since = time.monotonic()
    await_(lambda: len(answered(orders, since)) >= count, 20)


def longest(report: LedgerReport) -> Gap:
    """Of writes, by whichever way."""
    return next(one.gap for one in report.lanes if one.lane != "read")


def test_what_a_server_that_dies_costs_is_measured_and_no_row_that_was_acknowledged_is_missed(place: Place) -> None:
    orders, server = place.orders("dies"), place.servers["qhdc"]
    with place.client(orders):
        writes_on(orders)
        server.stop(signal.SIGQUIT)
        gone = time.monotonic()
        time.sleep(1.5)
        back = time.monotonic()
        server.start()
        writes_on(orders)
    report = place.judged(orders)
    assert report.whole, report
    gap = longest(report)
    assert gap.over
    assert gap.since <= gone + 0.1
    assert back < gap.until
    assert gap.seconds > 1.4
    assert report.of("write").wrong.keys() == {Wrong.CONNECTION}
    assert report.rows >= 30
    assert report.of("read").answered > 10


def test_a_server_that_hangs_is_down_after_a_second(place: Place) -> None:
    orders, server, pace = place.orders("hangs"), place.servers["qhdc"], Pace()
    with place.client(orders):
        writes_on(orders)
        server.tell(signal.SIGSTOP)
        time.sleep(3)
        server.tell(signal.SIGCONT)
        writes_on(orders)
    report = place.judged(orders)
    hung = [one for one in tries.read(orders.file)[1] if one.wrong]
    assert {one.wrong for one in hung} == {Wrong.SILENT}
    assert {one.lane for one in hung} == {"write", "read"}
    assert all(1 <= one.took <= 1 + 0.2 * pace.limit(1) for one in hung), hung
    assert len([one for one in hung if one.lane == "write"]) >= 2
    assert longest(report).seconds > 2.9
    assert report.lost == []


def test_rows_that_the_other_site_never_had_are_named_by_number(place: Place) -> None:
    """Its copy is as old as that of a site which does not wait for it; the name leads there then."""
    orders, first, other = place.orders("loses"), place.servers["qhdc"], place.servers["ndc"]
    with place.client(orders):
        writes_on(orders)
        first.stop()
        first.keep(other)
        copied = time.monotonic()
        first.start()
        writes_on(orders)
        first.stop(signal.SIGQUIT)
        gone = time.monotonic()
        time.sleep(1)
        other.start()
        place.leads("ndc")
        writes_on(orders)
    report = place.judged(orders)
    wanted = [one.number for one in answered(orders, copied) if one.at < gone]
    assert len(wanted) >= 15
    assert report.lost == wanted
    assert (report.duplicate, report.unknown) == ([], [])
    assert [one.site for one in report.of("write").spans] == ["qhdc", "ndc"]
    assert longest(report).site_after == "ndc"
    assert not report.whole


def test_where_the_very_tables_were_lost_all_rows_were(place: Place) -> None:
    orders = place.orders("loses all")
    with place.client(orders):
        writes_on(orders)

    def lose() -> None:
        deadline = time.monotonic() + 10
        with databases(orders, deadline) as there:
            there.ask("drop schema ledger cascade", [], deadline)

    inside.call(place.wires.networks["client"], lose)
    report = place.judged(orders)
    assert report.lost == [one.number for one in answered(orders, 0)]
    assert report.lost


def test_a_client_that_was_ended_goes_on_with_the_next_number(place: Place) -> None:
    orders = place.orders("goes on")
    for _ in range(2):
        with place.client(orders):
            writes_on(orders)
        assert tries.ended(orders.file), "it was told to"
    report = place.judged(orders)
    assert report.whole, report
    assert report.rows >= 30
    numbers = [one.number for one in answered(orders)]
    assert numbers == sorted(set(numbers))


def test_nothing_is_written_where_the_database_takes_none_and_that_is_told_apart(place: Place) -> None:
    orders = place.orders("read only")
    with place.client(orders):
        writes_on(orders)
        set_read_only(place, "on")
        await_(lambda: any(one.wrong is Wrong.READ_ONLY for one in tries.read(orders.file)[1]), 10)
        time.sleep(0.5)
        set_read_only(place, "off")
        writes_on(orders)
    report = place.judged(orders)
    assert report.whole, report
    write, read = report.of("write").wrong, report.of("read").wrong
    assert write[Wrong.READ_ONLY] >= 5
    assert Wrong.READ_ONLY not in read
    assert (write.keys() | read.keys()) <= {Wrong.READ_ONLY, Wrong.CONNECTION}, "standing connections were ended"


def set_read_only(place: Place, value: str) -> None:
    """New connections start so; those that stand are ended."""
    given = {
        "host": ADDRESSES["qhdc"], "hostaddr": ADDRESSES["qhdc"], "user": "postgres", "password": "of nobody",
        "dbname": "postgres", "sslmode": "require",
    }  # fmt: skip

    def ask() -> None:
        deadline = time.monotonic() + 10
        with Connection(given, deadline) as there:
            there.ask("set default_transaction_read_only = off", [], deadline)
            there.ask(f'alter role "{ROLE}" set default_transaction_read_only = {value}', [], deadline)
            there.ask("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", [ROLE], deadline)

    inside.call(place.wires.networks["client"], ask)


def test_the_canary_of_drills_writes_and_reads_back_for_who_has_the_key_of_a_run(place: Place) -> None:
    own = {
        "tenant": ROLE, "site": "qhdc", "build": "", "port": 443, "drills": True,
        "databases": {"host": ADDRESSES["qhdc"], "names": [ROLE]},
    }  # fmt: skip
    command = [*place.enter("qhdc"), sys.executable, "-c", SERVE, str(place.root / "etc/qhs/tls")]
    orders, server = place.orders("web", web=True), place.servers["qhdc"]
    stranger = place.orders("stranger", web=True).model_copy(update={"password": "guessed"})
    with subprocess.Popen(command, env=os.environ | {"CANARY": json.dumps(own)}) as running:
        try:
            with place.client(orders), place.client(stranger):
                writes_on(orders)
                server.tell(signal.SIGSTOP)
                time.sleep(2.5)
                server.tell(signal.SIGCONT)
                writes_on(orders)
        finally:
            running.kill()
    report = place.judged(orders)
    (lane,) = report.lanes
    assert longest(report).seconds > 2.4
    assert {one.site for one in lane.spans} == {"qhdc"}
    assert report.lost == []
    refused = tries.read(stranger.file)[1]
    assert not [one for one in refused if one.wrong is None]
    assert any(one.wrong is Wrong.REFUSED and one.said.startswith("403") for one in refused)


def test_nobody_waits_longer_than_told_for_a_server_that_says_nothing(place: Place) -> None:
    server = place.servers["qhdc"]
    server.tell(signal.SIGSTOP)
    began = time.monotonic()
    given = {"hostaddr": ADDRESSES["qhdc"], "user": ROLE, "password": PASSWORD, "dbname": ROLE, "sslmode": "require"}
    try:
        with pytest.raises(TryError) as found:
            inside.call(place.wires.networks["client"], lambda: Connection(given, began + 0.5))
    finally:
        server.tell(signal.SIGCONT)
    assert found.value.wrong is Wrong.SILENT
    assert 0.5 <= time.monotonic() - began < 1
