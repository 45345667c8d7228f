#!/usr/bin/python3 -B
"""Applications' buckets of the site that has the lease come to be here too, while another site has it.

    ask       learn again and again which site has the lease, write it down, and say whether it is this one
    follow    have what that site's store changes changed here; while the own site has the lease, nothing
    report    write down for metrics how far behind this site is
    status    print that, as JSON
    check     say why what follows does not work at this machine, and exit with 2; or nothing

Every site writes the time into its own store now and then, which comes along with all else: how old what came last
from a site is, is how far behind this one is. `ask` runs where the network is, `follow` where the store is and nobody
else: each has what it needs alone.
"""

import dataclasses
import http.client
import http.server
import json
import os
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/qhs/object-sync/sync.json")
LEASE = Path("/run/qhs-object-sync/lease.json")
SAYS = Path("/run/qhs-object-sync/lease.sock")
STATUS = Path("/run/qhs-object-sync/status.json")
TURN = Path("/var/lib/qhs-object-sync/turn.json")
METRICS = Path("/var/lib/prometheus/node-exporter/qhs_object_sync.prom")
TLS = Path("/etc/qhs/tls")
WEED = "/usr/bin/weed"
LEASE_PORT = 2378
FILER, GUARDED = 8888, 18887
"""Of the own store: its files, and the way to what it knows of them, where only applications' buckets are changed."""
BUCKETS = "/buckets"
PATIENCE = 3  # seconds for an answer
EVERY = 1  # seconds between two looks
BEATS = 5  # seconds between two times that are written into the own store
FORGETS = 30  # seconds after which what was learnt of the lease says nothing any more
HOLDS = 5
"""Seconds for which a site that was said to have the lease takes changes: another may have it a few seconds later."""
DRAINS = 20
"""Seconds for which a site that has got the lease goes on to follow the one that had it, for what that took last."""
EARLIER = 10
"""Seconds before another site was last known to have the lease from which changes of the one that has it now count:
clocks differ, and what comes twice does no harm."""
ENDS = 5  # seconds for a follower to note down how far it came


@dataclass(frozen=True)
class Turn:
    """Which site has the lease, as far as it is known here; it lies on the disk."""

    holder: str = ""
    since: float = 0
    """When that was learnt first, in seconds as clocks count."""
    seen: float = 0
    """When it was learnt last."""
    start: int = 0
    """From when on its changes count, in milliseconds; 0: from where this site has come to."""

    def learnt(self, holder: str, now: float) -> "Turn":
        """Nothing where nobody says. A site that had been behind has kept what only it has: that is not followed."""
        if not holder:
            return self
        if holder == self.holder:
            return dataclasses.replace(self, seen=now)
        return Turn(holder, now, now, int((self.seen - EARLIER) * 1000) if self.holder else 0)

    @classmethod
    def read(cls) -> "Turn":
        """Nothing is known where there is no such file, or half of one."""
        try:
            return cls(**json.loads(TURN.read_text()))
        except (OSError, ValueError, TypeError):
            return cls()


@dataclass
class Following:
    """A program that changes here what a site's store changes, as long as it runs."""

    site: str
    process: subprocess.Popen[str]

    @classmethod
    def begun(cls, site: str, ports: Sequence[int], excluded: Sequence[str], start: int) -> "Following":
        """By the ports that lead to that site's store.

        One change after the other: of two at once to what says which version of an object is current, the older may
        win, and then an older version, or none, is current here.
        """
        command = [
            WEED, "-logtostderr=true", "filer.sync", "-isActivePassive=true", "-concurrency=1", "-chunkConcurrency=8",
            f"-a=127.0.0.1:{ports[0]}.{ports[1]}", "-a.filerProxy=true", f"-a.path={BUCKETS}",
            f"-a.excludePaths={','.join(f'{BUCKETS}/{one}' for one in excluded)}", f"-a.fromTsMs={start}",
            f"-b=127.0.0.1:{FILER}.{GUARDED}", f"-b.path={BUCKETS}",
        ]  # fmt: skip
        # What it prints names objects, and holds what small ones hold.
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=_tell, args=(process,), daemon=True).start()
        return cls(site, process)

    def runs(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        """It notes down how far it came."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(ENDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _tell(process: subprocess.Popen[str]) -> None:
    """What it has to say of faults: it says all else too, every few seconds."""
    for line in process.stderr or ():
        if line[:1] in "EF":
            print(line, end="", file=sys.stderr, flush=True)


@dataclass
class Follower:
    """Follows whoever has the lease, and nobody while that is the own site."""

    site: str
    peers: set[str]
    """The other sites."""
    begin: Callable[[str, int], Following]
    """Follow a site, from a time on."""
    newest: Callable[[str], float]
    """The time that came from a site last."""
    turn: Turn = field(default_factory=Turn.read)
    following: Following | None = None
    saved: float = 0

    def look(self, holder: str, now: float) -> None:
        """Once; `holder` is empty where nobody says who has the lease: then all stays as it is."""
        before, self.turn = self.turn, self.turn.learnt(holder, now)
        # What was noted last is begun from again after a crash: only once a change of later has come, it is not.
        if self.turn.start and self.following and self.newest(self.turn.holder) * 1000 > self.turn.start:
            self.turn = dataclasses.replace(self.turn, start=0)
        if (before.holder, before.start) != (self.turn.holder, self.turn.start) or now - self.saved > BEATS:
            self.save(now)
        wanted = self.wanted(now)
        if self.following and (self.following.site != wanted or not self.following.runs()):
            self.following.end()
            self.following = None
        elif wanted and not self.following:
            self.following = self.begin(wanted, self.turn.start)

    def wanted(self, now: float) -> str:
        """Whom to follow."""
        if self.turn.holder in self.peers:
            return self.turn.holder
        drains = self.turn.holder == self.site and now < self.turn.since + DRAINS
        return self.following.site if self.following and drains else ""

    def save(self, now: float) -> None:
        """For after a restart."""
        _write(TURN, dataclasses.asdict(self.turn))
        self.saved = now

    def status(self, now: float) -> dict[str, Any]:
        """How it stands; `lag` in seconds, of a site that follows another."""
        lag = None
        if self.turn.holder in self.peers:
            lag = round(max(0.0, now - max(self.newest(self.turn.holder), self.turn.since)), 1)
        return {"site": self.site, "holder": self.turn.holder, "follows": self.wanted(now), "lag": lag, "at": now}


def beat(site: str, now: float) -> str:
    """Write the time into the own store. Returns why that does not take it; empty: it does."""
    try:
        _own("PUT", site, json.dumps({"at": now}))
    except OSError as error:
        return f"the own store does not take the time: {error}"
    return ""


def newest(site: str) -> float:
    """The time that came from a site last; 0: none did, or the own store does not answer."""
    try:
        return float(json.loads(_own("GET", site))["at"])
    except (OSError, ValueError, KeyError):
        return 0


def _own(method: str, site: str, body: str = "") -> str:
    """Ask the own store for the time of a site: a file beside the buckets, none itself. Raises OSError."""
    connection = http.client.HTTPConnection("127.0.0.1", FILER, timeout=PATIENCE)
    try:
        connection.request(method, f"{BUCKETS}/.beat-{site}", body)
        answer = connection.getresponse()
        said = answer.read().decode()
    except http.client.HTTPException as error:
        raise OSError(f"no answer: {error}") from None
    finally:
        connection.close()
    if answer.status >= http.HTTPStatus.BAD_REQUEST:
        raise OSError(f"{answer.status} {said}")
    return said


def follow() -> None:
    """Until it is told to end."""
    given, beaten, wrong = settings(), 0.0, ""
    site, peers = given["site"], {one["site"]: one["ports"] for one in given["peers"]}

    def begin(peer: str, start: int) -> Following:
        return Following.begun(peer, peers[peer], given["excluded"], start)

    follower = Follower(site, set(peers), begin, newest)
    while True:
        now = time.time()
        if now - beaten > BEATS:
            beaten = now
            wrong = beat(site, now)
        follower.look(known(now), now)
        _write(STATUS, {**follower.status(now), "wrong": wrong})
        time.sleep(EVERY)


def known(now: float, forgets: float = FORGETS) -> str:
    """Which site has the lease; empty: nobody said so of late."""
    try:
        found = json.loads(LEASE.read_text())
        return str(found["holder"]) if now - found["at"] < forgets else ""
    except (OSError, ValueError, KeyError):
        return ""


class Says(http.server.BaseHTTPRequestHandler):
    """To what stands before the store: 200 while the own site has the lease, else 503."""

    def do_GET(self) -> None:
        """Whatever the path."""
        here = known(time.time(), HOLDS) == settings()["site"]
        self.send_response(http.HTTPStatus.OK if here else http.HTTPStatus.SERVICE_UNAVAILABLE)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """It is asked every second."""


def say() -> None:
    """Until the program ends, to whoever may write to the socket."""
    SAYS.unlink(missing_ok=True)
    server = socketserver.UnixStreamServer(str(SAYS), Says)
    SAYS.chmod(0o660)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def ask() -> None:
    """Until it is told to end; the one that answered last is asked first."""
    doors, told = list(settings()["doors"]), ""
    say()
    while True:
        holder, why = _asked(doors)
        if holder:
            _write(LEASE, {"holder": holder, "at": time.time()})
        if (said := f"{holder} has the lease" if holder else f"nobody says who has the lease: {why}") != told:
            print(told := said, flush=True)
        time.sleep(EVERY)


def _asked(doors: list[str]) -> tuple[str, str]:
    """Which site has it, by the first that can say; or why none can."""
    why = []
    for door in list(doors):
        try:
            holder = active(door)
        except OSError as error:
            why.append(f"{door}: {error}")
            continue
        doors.remove(door)
        doors.insert(0, door)
        return holder, "none has it"
    return "", "; ".join(why)


def active(address: str) -> str:
    """Which site has the lease, by the machine at an address; empty: none. Raises OSError where it cannot say."""
    context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    connection = http.client.HTTPSConnection(address, LEASE_PORT, context=context, timeout=PATIENCE)
    try:
        connection.request("GET", "/active")
        response = connection.getresponse()
        said = response.read().decode()
    except http.client.HTTPException as error:
        raise OSError(f"no answer: {error}") from None
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise OSError(f"{response.status} {said}")
    return str(json.loads(said)["active"])


def check() -> str:
    """Why it does not work here; empty: it does."""
    try:
        found = json.loads(STATUS.read_text())
    except OSError:
        return "it has not begun yet"
    silent = time.time() - found["at"]
    return f"it has said nothing for {silent:.0f} s" if silent > FORGETS else str(found["wrong"])


def report() -> None:
    """For the alert that it is too far behind: of a site that follows another."""
    found, lines = json.loads(STATUS.read_text()), []
    if found["lag"] is not None:
        # Where the follower itself is gone, this goes on to grow.
        lag = found["lag"] + max(0.0, time.time() - found["at"])
        of = f'{{source="{found["holder"]}"}}'
        lines = [f"qhs_object_sync_lag_seconds{of} {lag:.1f}", f"qhs_object_sync_may_seconds{of} {settings()['may']}"]
    new = METRICS.with_suffix(".new")
    new.write_text("".join(f"{line}\n" for line in lines))
    new.chmod(0o644)
    new.rename(METRICS)


def settings() -> dict[str, Any]:
    """What the role wrote."""
    found: dict[str, Any] = json.loads(SETTINGS.read_text())
    return found


def _write(path: Path, found: dict[str, Any]) -> None:
    """The whole of it or what was there."""
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "w") as file:
        json.dump(found, file)
    new.rename(path)


def main() -> int:
    """Runs one verb. Returns the exit code."""
    match sys.argv[1:]:
        case ["ask"]:
            ask()
        case ["follow"]:
            follow()
        case ["report"]:
            report()
        case ["status"]:
            print(STATUS.read_text())
        case ["check"]:
            print(found := check(), end="")
            return 2 if found else 0
        case _:
            sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
