#!/usr/bin/python3 -B
"""A bubble: the databases as this site has them, and the most important applications, apart from everything (T-B01).

    run    make one, and keep it until told to end: networks of its own, a copy of the databases that takes writes, and
           each application in a segment of its own, reading and writing again and again
    clear  take away what one that was killed has left on the machine

How it stands is in /run/qhs-bubble/state.json from the beginning on. What is wrong stands there too; a bubble with
faults stays as it is, for whoever looks at it, until it is told to end. Serves C-DR-06.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/local/lib/qhs-database-backup")
sys.path.insert(0, "/usr/local/lib/qhs-database")
sys.path.insert(0, "/usr/local/lib/qhs-pki")
import qhs_bubble_copy
import qhs_bubble_net
import qhs_database
from qhs_backup import FailedError, write
from qhs_backup_restore import empty
from qhs_bubble_net import Bubble, NetworkError, Segment

SETTINGS = Path("/etc/qhs/bubble/bubble.json")
STATE, ROOT = Path("/run/qhs-bubble/state.json"), Path("/run/qhs-bubble/root.crt")
COPY, TENANT = (Path(__file__).with_name(f"qhs_bubble_{name}.py") for name in ("copy", "tenant"))
EVERY = 5
"""Seconds between two rounds of the applications."""
AT_ONCE = 4
ANSWERS = 60
"""Seconds for one of them."""
FAULTS = 20
"""That are told."""
DIES_WITH_US = ["--reset-env", "--pdeathsig=KILL", "--"]
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *DIES_WITH_US]
AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs", *DIES_WITH_US]


class Keeping:
    """One bubble, and what its file says of it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._began = time.time()
        self._told: dict[str, Any] = {
            "began": self._began, "made": None, "copied": None, "served": None, "rounds": 0, "refused": 0,
            "tenants": {}, "faults": [],
        }  # fmt: skip
        names = [name for one in settings["tenants"].values() for name in one]
        self._passwords = {name: secrets.token_hex(24) for name in names}
        self._say()

    def run(self) -> None:
        """Until it ends. Raises FailedError, NetworkError or OSError."""
        if (role := qhs_database.status()["role"]) == "primary":
            raise FailedError(f"this member is {role}; wanted one that follows: a bubble disturbs nobody who writes")
        bubble = self.made()
        copy = self.copied(bubble)
        while copy.poll() is None:
            self.round(bubble)
            time.sleep(EVERY)
        raise FailedError(f"the databases have ended: {copy.communicate()[0].strip()}")

    def made(self) -> Bubble:
        """Networks, closed, and proof that the machine would count what comes out of them."""
        bubble = qhs_bubble_net.made(self._settings["network"], [*self._settings["tenants"]])
        counted = qhs_bubble_net.prove(bubble, self._settings["address"])
        segments = {one.name: one.address for one in (bubble.data, *bubble.tenants.values())}
        self._say(made={"counted": counted, "segments": segments})
        return bubble

    def copied(self, bubble: Bubble) -> subprocess.Popen[str]:
        """Databases that serve, and what keeps them."""
        wanted = {name: self._settings[name] for name in ("network", "databases_at")}
        wanted |= {"address": bubble.data.address, "passwords": self._passwords}
        command = bubble.data.command(*AS_POSTGRES, str(COPY))
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if process.stdin and process.stdout:
            process.stdin.write(json.dumps(wanted))
            process.stdin.close()
            for line in process.stdout:
                self._copied(json.loads(line))
                if self._told["copied"].get("serves"):
                    return process
        raise FailedError("the copy of the databases has ended before it served")

    def _copied(self, told: dict[str, Any]) -> None:
        if "fault" in told:
            raise FailedError(told["fault"])
        if root := told.pop("root", ""):
            write(ROOT, root, 0o644)
        self._say(copied=(self._told["copied"] or {}) | told)

    def round(self, bubble: Bubble) -> None:
        """Each application does once what it does."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = pool.map(lambda name: self.tenant(bubble, name), bubble.tenants)
            found = dict(zip(bubble.tenants, answers, strict=True))
        faults = self._told["faults"] + [fault for name, one in found.items() for fault in wrong(name, one)]
        served = self._told["served"] or {
            "seconds": round(max(one["done"] for one in found.values()) - self._began, 3),
        }
        self._say(
            tenants=found,
            rounds=self._told["rounds"] + 1,
            refused=qhs_bubble_net.refused(bubble),
            served=None if faults else served,
            faults=faults[:FAULTS],
        )

    def tenant(self, bubble: Bubble, name: str) -> dict[str, Any]:
        """What one of them found. Raises FailedError."""
        own, others = bubble.tenants[name], [one for one in bubble.tenants.values() if one.name != name]
        asked = {
            "databases_at": self._settings["databases_at"],
            "address": bubble.data.address,
            "root": str(ROOT),
            "passwords": {one: self._passwords[one] for one in self._settings["tenants"][name]},
            "tries": [*tries(self._settings["production"], own, others)],
        }
        done = subprocess.run(
            own.command(*AS_NOBODY, str(TENANT)),
            input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=ANSWERS,
        )  # fmt: skip
        if done.returncode:
            raise FailedError(f"{name} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def fail(self, why: str) -> None:
        """Have it told."""
        self._say(faults=[*self._told["faults"], why][-FAULTS:])

    def _say(self, **more: Any) -> None:
        self._told |= more
        write(STATE, json.dumps(self._told, indent=1, ensure_ascii=False) + "\n", 0o644)


def tries(production: list[list[Any]], own: Segment, others: list[Segment]) -> Iterator[tuple[str, int]]:
    """Whom an application must not reach: production, other applications, and the router beside it."""
    yield from ((address, port) for address, port in production)
    yield from ((one.address, qhs_bubble_net.DATABASES) for one in others)
    yield own.gateway, qhs_bubble_net.DATABASES


def wrong(name: str, found: dict[str, Any]) -> Iterator[str]:
    """What is not as it should be of what an application found."""
    for database, one in found["databases"].items():
        if one["said"]:
            yield f"{name}: found its database {database} so: {one['said']}; wanted it read and written"
    for address, said in found["tries"].items():
        if said != "nothing":
            yield f"{name}: found {address} answering: {said}; wanted nothing of it to be reached"


def clear() -> None:
    """Raises NetworkError."""
    qhs_bubble_net.clear()
    empty(qhs_bubble_copy.PLACE)


def run() -> None:
    """Until it is told to end, whatever becomes of it."""
    keeping = Keeping(json.loads(SETTINGS.read_text()))
    try:
        keeping.run()
    except (FailedError, NetworkError, OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr, flush=True)
        keeping.fail(str(error))
    while True:
        signal.pause()


def main() -> int:
    """Runs one verb. Returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    match sys.argv[1:]:
        case ["run"]:
            run()
        case ["clear"]:
            clear()
        case _:
            sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
