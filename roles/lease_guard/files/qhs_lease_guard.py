#!/usr/bin/python3 -B
"""Keeps the lease for the site of this machine, and lets its database take writes only while the site has it.

    run       renew it, and see to it that nothing here takes writes without it
    may       wait a while for the lease, and exit with 2 where the site has not got it: Patroni asks before it promotes
    check     say why the site may not take writes by what this machine knows, and exit with 2; or nothing
    chosen    print which site is to take writes, and exit with 2 where nobody says

Where another site was chosen, a server here that takes writes ends in order: all of its log is with its copies then,
and the lease goes at once. Which site is chosen is passed on to the databases, which are copies of that one's or not.

The clock is the machine's own since it started, sleep and all: nobody sets it. What is not renewed for the time that
the role says is lost, whatever the reason, and that time is shorter than the lease's own, so nobody else has it yet.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/qhs/lease-guard/guard.json")
UNTIL = Path("/run/qhs-lease-guard/until")
CHOSEN = Path("/run/qhs-lease-guard/chosen")
DATA = Path("/var/lib/qhs-database/main")
TLS = Path("/etc/qhs/tls")
CONTROL = "/usr/lib/postgresql/17/bin/pg_controldata"
STATE = "Database cluster state"
DUE = "due"
PORT = 2378
EVERY, SOON = 3, 0.5  # seconds between two renewals, and while something changes
LOOKS = 0.25  # seconds between two looks at the database
PATIENCE = 3  # seconds for an answer
WAITS = 15  # seconds for which a promotion waits, and no longer: the other member may have a way to the lease


def now() -> float:
    """Seconds since the machine started, those asleep too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def until() -> float:
    """When the site has had the lease for as long as it may; 0: it has not got it."""
    try:
        return float(UNTIL.read_text())
    except (OSError, ValueError):
        return 0


@dataclass(frozen=True)
class Told:
    """What a majority of the members says."""

    held: bool
    """Whether the site has the lease."""
    chosen: str = ""
    """The site that is to have it."""
    end: str = ""
    """Where the log of the one before ends, all of which is wanted before anything is written; empty: nobody knows."""


def ask(address: str, path: str = "/renew", body: str = "") -> Told:
    """By the machine at an address. Raises OSError where it cannot say."""
    context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    connection = http.client.HTTPSConnection(address, PORT, context=context, timeout=PATIENCE)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        said = response.read().decode()
    except http.client.HTTPException as error:
        raise OSError(f"no answer: {error}") from None
    finally:
        connection.close()
    if response.status not in (http.HTTPStatus.OK, http.HTTPStatus.CONFLICT):
        raise OSError(f"{response.status} {said}")
    found = json.loads(said)
    return Told(response.status == http.HTTPStatus.OK, found["chosen"], found["end"])


@dataclass
class Keeper:
    """Renews it at whichever of the machines answers; the one that answered last is asked first."""

    doors: list[str]
    seconds: float
    """For which a renewal is good here."""
    ask: Callable[..., Told] = ask
    clock: Callable[[], float] = now
    began: float = 0
    """When the one that answered was asked: the store counts from some time after."""
    logged: str = ""
    """What was last said of it in the log."""

    def renew(self) -> Told | None:
        """Once, at the first that can say; None: nobody can."""
        told = self.first("/renew")
        if told:
            if told.held:
                write(UNTIL, f"{self.began + self.seconds}\n")
            write(CHOSEN, told.chosen)
            self._log("the site has the lease" if told.held else "the site has not got the lease")
        return told

    def first(self, path: str, body: str = "") -> Told | None:
        """What the first one says that answers."""
        why = ""
        for door in list(self.doors):
            self.began = self.clock()
            try:
                told = self.ask(door, path, body)
            except OSError as error:
                why += f"; {door}: {error}"
                continue
            self.doors.remove(door)
            self.doors.insert(0, door)
            return told
        self._log(f"nobody says who has the lease{why}")
        return None

    def _log(self, what: str) -> None:
        if what != self.logged:
            print(what, flush=True)
        self.logged = what


@dataclass
class Site:
    """What the databases of this machine are by what is said: those of the chosen site, or copies of them."""

    keeper: Keeper
    name: str
    follows: list[str]
    """The command that has the databases be what they are to be, followed by the chosen site and the end of the log."""
    followed: Told | None = None
    """What they are."""
    ends: str = ""
    """Where the log of a server ends that had to end its writes here."""

    def mind(self, told: Told | None) -> bool:
        """Whether it is as it is to be, for now."""
        if told is None:
            return True
        if told.chosen in ("", self.name):
            self.ends = ""
            return told.held and self._follow(told)
        if takes_writes():
            if not self.ends:
                print(f"{told.chosen} is to take writes: the server here ends in order", flush=True)
            for process in minders():
                os.kill(process, signal.SIGTERM)
            self.ends = DUE
            return False
        if self.followed == told:
            return True
        if not self._quiet():
            return False
        UNTIL.unlink(missing_ok=True)
        self.ends = log_ends() if self.ends else ""
        self.keeper.first("/release", self.ends)
        return self._follow(told)

    def _quiet(self) -> bool:
        """Whether nothing takes writes, or will without being told first which site is chosen."""
        # One that was told to end only waits for what its server has yet to send away.
        return self.ends == DUE or (DATA / "standby.signal").exists() or not minders()

    def _follow(self, told: Told) -> bool:
        if self.followed != told:
            with contextlib.suppress(OSError):  # it comes with the databases, after this
                if subprocess.run([*self.follows, told.chosen, told.end], check=False).returncode == 0:
                    self.followed = told
        return self.followed == told


def minders() -> list[int]:
    """The Patroni of this machine."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if any(Path(word.decode(errors="replace")).name == "patroni" for word in words[:2]):
                found.append(int(process.name))
    return found


def log_ends(data: Path = DATA) -> str:
    """Where the log of a server ends that has ended; empty where it cannot be told."""
    return noted("Latest checkpoint location", data)


def noted(what: str, data: Path) -> str:
    """What a server notes of itself; empty where it has not."""
    said = subprocess.run([CONTROL, data], capture_output=True, text=True, env={"LC_ALL": "C"}, check=False).stdout
    found = re.search(f"^{what}: +(.+)$", said, re.MULTILINE)
    return found[1] if found else ""


def write(path: Path, text: str) -> None:
    """The whole of it or what was there."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o644)
    new.rename(path)


def takes_writes(data: Path = DATA) -> bool:
    """Whether a server of this machine takes writes, or is about to."""
    try:
        process = int((data / "postmaster.pid").read_text().split()[0])
        os.kill(max(process, 0), 0)  # raises OSError where it is gone
    except (OSError, ValueError, IndexError):
        return False
    # Less than 0: it mends itself, and nobody is let in. One that has shut down still sends away what it has.
    return process > 0 and not (data / "standby.signal").exists() and noted(STATE, data) != "shut down"


def stop(data: Path = DATA) -> None:
    """End all that runs as this user here, at once: the server, whoever is connected to it, and Patroni.

    A server told to end by itself would wait for copies that cannot be reached. Patroni goes with it, as one that has
    seen its server take writes starts it as such again; started anew it begins with a copy, and asks before it
    promotes that.
    """
    if os.geteuid() == 0:
        raise PermissionError("as root this would end all that runs on the machine; wanted the databases' user")
    with contextlib.suppress(OSError):
        (data / "standby.signal").touch()  # whoever starts it again, it is a copy
    os.kill(-1, signal.SIGKILL)


def mind(clock: Callable[[], float] = now) -> bool:
    """Look once; whether something had to be stopped."""
    if clock() < until() or not takes_writes():
        return False
    print("not renewed in time: nothing here takes writes any more", flush=True)
    stop()
    return True


def run() -> int:
    """Until it is told to end, or cannot renew any more."""
    found = settings()
    site = Site(Keeper(found["doors"], found["seconds"]), found["site"], found["follows"])
    thread = threading.Thread(target=renew_on, args=(site,), daemon=True)
    thread.start()
    notify("READY=1")
    while thread.is_alive():
        mind()
        notify("WATCHDOG=1")
        time.sleep(LOOKS)
    return 1


def renew_on(site: Site) -> None:
    """Again and again."""
    while True:
        settled = site.mind(site.keeper.renew())
        # Without a database there is nothing to be quick for.
        time.sleep(EVERY if settled or not (site.ends or minders()) else SOON)


def notify(what: str) -> None:
    """Tell systemd, which starts anew whoever falls silent."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, contextlib.suppress(OSError):
            manager.sendto(what.encode(), path.replace("@", "\0", 1))


def settings() -> dict[str, Any]:
    """What the role wrote."""
    found: dict[str, Any] = json.loads(SETTINGS.read_text())
    return found


def may() -> bool:
    """Whether the site has the lease, at the latest when patience is over."""
    own, end = settings()["site"], now() + WAITS
    while now() >= until() or elsewhere(own):
        if now() > end or elsewhere(own):
            return False
        time.sleep(LOOKS)
    return True


def elsewhere(own: str) -> bool:
    """Whether another site was chosen when somebody last said so."""
    return CHOSEN.exists() and CHOSEN.read_text() not in ("", own)


def chosen() -> str:
    """The site that is to take writes, by the first that can say; empty: none of them can."""
    for door in settings()["doors"]:
        with contextlib.suppress(OSError):
            return ask(door).chosen
    return ""


def main() -> int:
    """Runs one verb. Returns the exit code."""
    match sys.argv[1:]:
        case ["run"]:
            return run()
        case ["may"]:
            return 0 if may() else 2
        case ["check"]:
            lost = now() >= until()
            print("this machine did not renew the lease of its site in time" if lost else "", end="")
            return 2 if lost else 0
        case ["chosen"]:
            print(found := chosen(), end="")
            return 0 if found else 2
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
