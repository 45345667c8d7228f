#!/usr/bin/python3 -B
"""The names of the active site: the authority here answers them while this site has the lease.

    follow    ask the own member of the lease's store again and again, and have the authority answer or refuse
    refuse    have it refuse
    check     say how it does otherwise than the lease says, and exit with 2; or nothing
    report    write down for metrics whether it does

The authority answers by the zone's file alone, which is in /run: started anew it does as it did, and where the machine
was, it refuses. A refusal is no answer, so whoever asked goes on to the authority of another site.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/local/lib/qhs-etcd")
sys.path.insert(0, "/usr/local/lib/qhs-lease")
from qhs_etcd import AbsentError
from qhs_lease import own

SETTINGS = Path("/etc/qhs/active-names/names.json")
NAMES = Path("/etc/qhs/active-names/zone")
ANSWERED = Path("/run/qhs-active-names/zone")
METRICS = Path("/var/lib/prometheus/node-exporter/qhs_active_names.prom")
EVERY = 1  # seconds between two questions
PATIENCE = 5  # seconds for the authority to do as it is told
LOOKS = 3  # how often what is wrong is looked at: it may be about to be put right


def now() -> float:
    """Seconds since the machine started, those asleep too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class RefusedError(Exception):
    """What the authority said that did not do as it was told."""


def told(*words: str) -> None:
    """Tell the authority. Raises RefusedError."""
    command = ["/usr/sbin/knotc", "--blocking", "--force", f"--timeout={PATIENCE}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError((done.stderr or done.stdout).strip())


def answer(domain: str) -> None:
    """Have the authority answer. Raises RefusedError."""
    new = ANSWERED.with_suffix(".new")
    new.write_text(NAMES.read_text())
    new.rename(ANSWERED)
    told("zone-reload", domain)


def refuse(domain: str) -> None:
    """Have it refuse. Raises RefusedError, where it may answer until it is started anew."""
    ANSWERED.unlink(missing_ok=True)
    # Without its timers it is one that was never there, which alone can be loaded again.
    told("zone-purge", "+expire", "+timers", domain)


@dataclass
class Follower:
    """Has the authority answer while the site has the lease."""

    site: str
    seconds: float
    """For which the last word of a majority is good."""
    answer: Callable[[], None]
    refuse: Callable[[], None]
    clock: Callable[[], float] = now
    until: float = 0
    answers: bool | None = None
    """What it does; None: nobody knows."""
    said: str = ""
    """What was last said in the log."""

    def hear(self, active: str, asked: float) -> None:
        """Which site has the lease, by a majority that was asked at a time."""
        self.until = asked + self.seconds if active == self.site else 0

    def act(self) -> None:
        """On what is known now."""
        wanted = self.clock() < self.until
        if wanted == self.answers:
            return
        try:
            (self.answer if wanted else self.refuse)()
        except RefusedError as error:
            self.answers = None
            self._say(f"the authority does not {'answer' if wanted else 'refuse'}: {error}")
        else:
            self.answers = wanted
            self._say(f"the authority {'answers' if wanted else 'refuses'}")

    def _say(self, what: str) -> None:
        if what != self.said:
            print(what, flush=True)
        self.said = what


def follow() -> None:
    """For ever."""
    given = settings()
    domain = given["domain"]
    one = Follower(given["site"], given["seconds"], lambda: answer(domain), lambda: refuse(domain))
    while True:
        try:
            with own() as store:
                while True:
                    asked = now()
                    one.hear(store.state().active, asked)
                    one.act()
                    time.sleep(EVERY)
        except AbsentError:
            one.act()
            time.sleep(EVERY)


def answers(domain: str, authority: str) -> bool:
    """Whether the authority answers for the domain."""
    command = ["/usr/bin/kdig", f"@{authority}", "+norec", "+noall", "+answer", "+retry=0", "+timeout=2", domain, "SOA"]
    return bool(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())


def differs() -> str | None:
    """How the authority does otherwise than the lease says; empty: as it says; None: no majority says anything."""
    given = settings()
    try:
        with own() as store:
            active = store.state().active
    except AbsentError:
        return None
    found, wanted = answers(given["domain"], given["authority"]), active == given["site"]
    if found == wanted:
        return ""
    does = "answers" if found else "refuses"
    return f"the authority {does} {given['domain']}, and {active or 'no site'} has the lease"


def wrong() -> str:
    """What stays wrong; that a look finds no majority puts nothing right."""
    found = ""
    for look in range(LOOKS):
        time.sleep(2 * EVERY if look else 0)
        seen = differs()
        if seen == "":
            return ""
        found = seen or found
    return found


def report() -> None:
    """For the alert that names do not follow the lease."""
    new = METRICS.with_suffix(".new")
    new.write_text(f"qhs_active_names_wrong {int(bool(wrong()))}\n")
    new.chmod(0o644)
    new.rename(METRICS)


def settings() -> dict[str, Any]:
    """What the role wrote."""
    found: dict[str, Any] = json.loads(SETTINGS.read_text())
    return found


def main() -> int:
    """Runs one verb. Returns the exit code."""
    match sys.argv[1:]:
        case ["follow"]:
            follow()
        case ["refuse"]:
            try:
                refuse(settings()["domain"])
            except RefusedError as error:
                print(f"the authority does not refuse: {error}", file=sys.stderr)
                return 1
            return 0
        case ["check"]:
            print(found := wrong(), end="")
            return 2 if found else 0
        case ["report"]:
            report()
            return 0
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
