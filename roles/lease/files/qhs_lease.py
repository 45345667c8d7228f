#!/usr/bin/python3 -B
"""The lease of the estate: which site's databases may take writes.

    serve                       answer the machines of the databases: each renews for its site, and none sees the store
    check                       say why this machine does not answer, and exit with 2; or nothing
    report                      write down for metrics how it stands
    status                      print how it stands, as JSON
    choose SITE INSTEAD-OF      have SITE take writes from now on; where another was chosen meanwhile, exit with 2
    take-back SITE INSTEAD-OF   the same, unless the other one has had the lease since it was chosen: exit with 2

The store has few keys. `chosen` is the site that is to take writes, and stays; `active` is the one that may, and goes
with the store's own lease unless that is renewed; so does `since`, which is for people to read. Only the chosen site
ever takes what nobody has: one that another was chosen instead of cannot, whenever it comes back. `taken` stays, and
says that the chosen one has had it, so that it may have written what no other has.

Once another was chosen, each machine of the site that has the lease says in `released/MACHINE` that it takes no writes
any more, and where its log ends. When all have said so the lease goes at once, and the end of the log stays in `end`:
the next one has all of it before it takes writes. Where one is silent the lease runs out, and nobody waits for its log.
"""

import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/local/lib/qhs-etcd")
from qhs_etcd import TLS, AbsentError, Cluster, asked, check, connected

SETTINGS = Path("/etc/qhs/lease/door.json")
METRICS = Path("/var/lib/prometheus/node-exporter/qhs_lease.prom")
CLUSTER = "lease"
PORT = 2378
PATIENCE = 5  # seconds for whoever came to say what it wants
STORE = 2  # seconds for an answer of the store
PLACE = 17  # bytes of a place in a log
ACTIVE, CHOSEN, SINCE, END, RELEASED, TAKEN = "active", "chosen", "since", "end", "released/", "taken"
BEHIND_ALL = "released0"
"""The first key after those of who has released it: `0` comes after `/`."""


@dataclass(frozen=True)
class State:
    """What a majority of the members agree on."""

    active: str = ""
    """The site that may take writes; empty: none."""
    chosen: str = ""
    since: str = ""
    """When it took the lease, by the clock of the machine that it asked."""
    end: str = ""
    """Where the log of the site that had it before ends, as one writes it in a database; empty: nobody said so."""
    lease: str = "0"
    """By which number the store knows it."""


class Store:
    """The own member of the cluster. Whatever it answers, a majority of the members has agreed to."""

    def __init__(self, connection: http.client.HTTPSConnection) -> None:
        self._connection = connection

    def state(self) -> State:
        """Raises AbsentError."""
        wanted = [{"requestRange": {"key": _coded(key)}} for key in (ACTIVE, CHOSEN, SINCE, END)]
        found = [one["response_range"].get("kvs", [{}])[0] for one in self._ask("kv/txn", success=wanted)["responses"]]
        active, chosen, since, end = map(_plain, found)
        return State(active, chosen, since, end, found[0].get("lease", "0"))

    def choose_first(self, site: str) -> None:
        """Where none was ever chosen. Raises AbsentError."""
        self._ask("kv/txn", compare=[_none(CHOSEN)], success=[_put(CHOSEN, site)])

    def choose(self, site: str, instead_of: str, *, untaken: bool = False) -> bool:
        """Whether it is so now: not where yet another one was chosen meanwhile, nor, with `untaken`, where the other
        has had the lease since. Raises AbsentError.
        """
        compare = [_is(CHOSEN, instead_of), *([_none(TAKEN)] if untaken else [])]
        puts = [_put(CHOSEN, site), _gone(END), _gone(RELEASED, BEHIND_ALL)]
        puts += [_gone(TAKEN)] if site != instead_of else []
        return bool(self._ask("kv/txn", compare=compare, success=puts).get("succeeded"))

    def release(self, machine: str, end: str, of: str, all_of: set[str]) -> None:
        """A machine of a site takes no writes any more, instead of which another was chosen. Raises AbsentError.

        `end`: where its log ends, if it wrote one. `all_of`: the machines of the site; by the last of them it goes.
        """
        not_chosen = {**_is(CHOSEN, of), "result": "NOT_EQUAL"}
        said = {"requestRange": {"key": _coded(RELEASED), "range_end": _coded(BEHIND_ALL)}}
        done = self._ask("kv/txn", compare=[not_chosen], success=[_put(RELEASED + machine, end), said])
        if not done.get("succeeded"):
            return
        found = {_plain(one, "key"): _plain(one) for one in done["responses"][1]["response_range"]["kvs"]}
        if {RELEASED + one for one in all_of} <= set(found):
            # The last of several logs: the others are copies of it.
            goes = [_gone(ACTIVE), _gone(SINCE), _put(END, max(found.values(), key=position))]
            self._ask("kv/txn", compare=[not_chosen, _is(ACTIVE, of)], success=goes)

    def take(self, site: str, seconds: int) -> None:
        """Have it for the chosen site, where nobody has it. Raises AbsentError."""
        lease = self._ask("lease/grant", TTL=seconds)["ID"]
        chosen = _is(CHOSEN, site)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        puts = [_put(ACTIVE, site, lease), _put(SINCE, now, lease), _put(TAKEN, site)]
        if not self._ask("kv/txn", compare=[_none(ACTIVE), chosen], success=puts).get("succeeded"):
            self._ask("lease/revoke", ID=lease)

    def renew(self, lease: str) -> bool:
        """Whether it was still there. Raises AbsentError."""
        return int(self._ask("lease/keepalive", ID=lease)["result"].get("TTL", 0)) > 0

    def seconds(self, lease: str) -> int:
        """How long it is good for, unless it is renewed. Raises AbsentError."""
        return max(0, int(self._ask("lease/timetolive", ID=lease).get("TTL", 0)))

    def _ask(self, path: str, **fields: Any) -> dict[str, Any]:
        return asked(self._connection, path, **fields)


def position(log: str) -> int:
    """Of a place in a log, among others; of an empty one before them all."""
    high, _, low = log.partition("/")
    return (int(high or "0", 16) << 32) + int(low or "0", 16)


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _plain(found: dict[str, str], what: str = "value") -> str:
    return base64.b64decode(found.get(what, "")).decode()


def _put(key: str, value: str, lease: str = "0") -> dict[str, Any]:
    return {"requestPut": {"key": _coded(key), "value": _coded(value), "lease": lease}}


def _gone(key: str, before: str = "") -> dict[str, Any]:
    return {"requestDeleteRange": {"key": _coded(key), "range_end": _coded(before)}}


def _none(key: str) -> dict[str, Any]:
    return {"key": _coded(key), "target": "VERSION", "version": "0"}


def _is(key: str, value: str) -> dict[str, Any]:
    return {"key": _coded(key), "target": "VALUE", "value": _coded(value)}


def renewed(store: Store, site: str, *, founds: bool, seconds: int) -> State:
    """Renew for a site, or take for it what nobody has; how it stands then. Raises AbsentError.

    `founds`: whether it is the one that takes writes where none was chosen yet.
    """
    found = store.state()
    if founds and not found.chosen:
        store.choose_first(site)
        found = store.state()
    if found.chosen != site:
        return found
    if not found.active:
        store.take(site, seconds)
    elif found.active != site or not store.renew(found.lease):
        return State(chosen=found.chosen, end=found.end)
    # A leader that has lost the others may have renewed it for itself alone: what counts is what they say afterwards.
    return store.state()


def holding(holders: dict[str, str], site: str) -> set[str]:
    """The machines that take writes for a site."""
    return {machine for machine, one in holders.items() if one == site}


def settings() -> dict[str, Any]:
    """What the role wrote."""
    found: dict[str, Any] = json.loads(SETTINGS.read_text())
    return found


@contextlib.contextmanager
def own() -> Iterator[Store]:
    """Of this machine."""
    cluster = Cluster.read(CLUSTER)
    with connected(cluster.members[cluster.own], cluster.clients, STORE) as connection:
        yield Store(connection)


class Asked(BaseHTTPRequestHandler):
    """`POST /renew` and `POST /release` of a machine of a site that may have it; `GET /active` of any machine."""

    timeout = PATIENCE

    def do_GET(self) -> None:
        """Which site has the lease; empty: none."""
        if self.path != "/active":
            return self._say(http.HTTPStatus.NOT_FOUND, {})
        try:
            with own() as store:
                found = store.state()
        except AbsentError as error:
            return self._say(http.HTTPStatus.SERVICE_UNAVAILABLE, {"why": str(error)})
        return self._say(http.HTTPStatus.OK, {"active": found.active})

    def do_POST(self) -> None:
        """200 where its site has the lease now, 409 where it has not, 403 to whom it is none of their business."""
        given = settings()
        certificate: Any = self.connection.getpeercert()
        names = [name for kind, name in certificate["subjectAltName"] if kind == "DNS"]
        machine = next((one for one in names if one in given["holders"]), None)
        if self.path not in ("/renew", "/release") or machine is None:
            return self._say(http.HTTPStatus.FORBIDDEN, {"names": names})
        site = given["holders"][machine]
        try:
            with own() as store:
                if self.path == "/release":
                    store.release(machine, self._log_ends(), site, holding(given["holders"], site))
                    found = store.state()
                else:
                    found = renewed(store, site, founds=site == given["founds"], seconds=given["seconds"])
        except AbsentError as error:
            return self._say(http.HTTPStatus.SERVICE_UNAVAILABLE, {"why": str(error)})
        held = found.active == found.chosen == site
        said = {"active": found.active, "chosen": found.chosen, "end": found.end}
        return self._say(http.HTTPStatus.OK if held else http.HTTPStatus.CONFLICT, said)

    def _log_ends(self) -> str:
        """As it says itself; empty where it says nothing that is a place in a log."""
        said = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), PLACE)).decode(errors="replace")
        return said if re.fullmatch("[0-9A-F]{1,8}/[0-9A-F]{1,8}", said) else ""

    def log_message(self, *_: Any) -> None:
        """Nothing: each machine asks again and again, and says itself where it is refused."""

    def _say(self, status: http.HTTPStatus, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Door(ThreadingHTTPServer):
    """Lets in who shows a certificate of the estate."""

    daemon_threads = True

    def finish_request(self, request: Any, client: Any) -> None:
        """In a thread of its own, so that who says nothing keeps nobody out."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(TLS / "ca.crt"))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        # Read for each: it is renewed while this goes on.
        context.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
        request.settimeout(PATIENCE)
        with contextlib.suppress(OSError), context.wrap_socket(request, server_side=True) as within:
            Asked(within, client, self)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """TLS has closed it already."""
        with contextlib.suppress(OSError):
            super().shutdown_request(request)


def wrong() -> str:
    """Why this machine does not answer; empty: it does."""
    cluster = Cluster.read(CLUSTER)
    if why := check(cluster):
        return why
    try:
        socket.create_connection((cluster.members[cluster.own], PORT), PATIENCE).close()
    except OSError as error:
        return f"nobody answers at port {PORT}: {error}"
    return ""


def status() -> dict[str, Any]:
    """How it stands, and why this machine does not answer; nothing of the lease where no majority says it."""
    found: dict[str, Any] = {"wrong": wrong()}
    with own() as store, contextlib.suppress(AbsentError):
        state = store.state()
        seconds = store.seconds(state.lease) if state.active else 0
        found |= {"active": state.active, "chosen": state.chosen, "since": state.since, "seconds": seconds}
    return found


def choose(site: str, instead_of: str, *, untaken: bool = False) -> str:
    """Why it is not so; empty: it is, or was already. Raises AbsentError."""
    sites = sorted(set(settings()["holders"].values()))
    if site not in sites:
        return f"{site} has no databases; wanted one of {', '.join(sites)}"
    with own() as store:
        if store.choose(site, instead_of, untaken=untaken):
            return ""
        found = store.state().chosen
        if found == instead_of:
            return f"{instead_of} has had the lease since it was chosen, and may have written what {site} has not"
        return "" if found == site else f"{found} is chosen, not {instead_of}"


def report() -> None:
    """For the alerts that nobody has the lease, and that a member does not answer."""
    found = status()
    new = METRICS.with_suffix(".new")
    # Where no majority says it, this member does not know: the others' word counts.
    held = f"qhs_lease_held {int(bool(found['active']))}\n" if "active" in found else ""
    new.write_text(f"{held}qhs_lease_answers {int(not found['wrong'])}\n")
    new.chmod(0o644)
    new.rename(METRICS)


def main() -> int:
    """Runs one verb. Returns the exit code."""
    match sys.argv[1:]:
        case ["serve"]:
            cluster = Cluster.read(CLUSTER)
            Door((cluster.members[cluster.own], PORT), Asked).serve_forever()
        case ["check"]:
            print(found := wrong(), end="")
            return 2 if found else 0
        case ["report"]:
            report()
            return 0
        case ["status"]:
            print(json.dumps(status()))
            return 0
        case ["choose" | "take-back" as verb, site, instead_of]:
            try:
                why = choose(site, instead_of, untaken=verb == "take-back")
            except AbsentError as error:
                why = f"no majority of the members answers: {error}"
            print(why, end="", file=sys.stderr)
            return 2 if why else 0
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
