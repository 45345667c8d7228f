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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

sys.path.insert(0, "/usr/local/lib/qhs-database-backup")
sys.path.insert(0, "/usr/local/lib/qhs-database")
sys.path.insert(0, "/usr/local/lib/qhs-pki")
import qhs_bubble_copy
import qhs_bubble_net
import qhs_database
from qhs_backup import FailedError, write
from qhs_backup_restore import MIB, empty, room
from qhs_bubble_net import Bubble, NetworkError, Segment
from qhs_bubble_objects import Object, Store, StoreError, identity
from secret_store import TLS, AbsentError, of_any

SETTINGS = Path("/etc/qhs/bubble/bubble.json")
STATE, ROOT = Path("/run/qhs-bubble/state.json"), Path("/run/qhs-bubble/root.crt")
COPY, OBJECTS, TENANT = (Path(__file__).with_name(f"qhs_bubble_{name}.py") for name in ("copy", "objects", "tenant"))
READER, KEEPER = "bubble", "keeper"
"""As whom buckets are read at the site, and written to in the bubble."""
EVERY = 5
"""Seconds between two rounds of the applications."""
AT_ONCE = 4
BEGINS = 90
"""Seconds for an object store that has just begun."""
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
            "began": self._began, "made": None, "copied": None, "objects": None, "served": None, "rounds": 0,
            "refused": 0, "tenants": {}, "faults": [],
        }  # fmt: skip
        names = [name for one in settings["tenants"].values() for name in one["databases"]]
        self._passwords = {name: secrets.token_hex(24) for name in names}
        self._keys = {name: secrets.token_hex(24) for name in [*settings["tenants"], KEEPER]}
        self._say()

    def run(self) -> None:
        """Until it ends. Raises FailedError, NetworkError or OSError."""
        if (role := qhs_database.status()["role"]) == "primary":
            raise FailedError(f"this member is {role}; wanted one that follows: a bubble disturbs nobody who writes")
        bubble = self.made()
        copy = self.copied(bubble)
        store = self.stored(bubble)
        while copy.poll() is None and store.poll() is None:
            self.round(bubble)
            time.sleep(EVERY)
        raise FailedError(f"found the databases ended: {copy.poll()}, the object store: {store.poll()}; wanted neither")

    def made(self) -> Bubble:
        """Networks, closed, and proof that the machine would count what comes out of them."""
        bubble = qhs_bubble_net.made(self._settings["network"], [*self._settings["tenants"]])
        counted = qhs_bubble_net.prove(bubble, self._settings["address"])
        segments = {one.name: one.address for one in (bubble.data, *bubble.tenants.values())}
        self._say(made={"counted": counted, "segments": segments})
        return bubble

    def copied(self, bubble: Bubble) -> subprocess.Popen[str]:
        """Databases that serve, and what keeps them."""
        names = [self._settings["databases_at"], self._settings["objects_at"]]
        wanted = {"network": self._settings["network"], "names": names}
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

    def stored(self, bubble: Bubble) -> subprocess.Popen[str]:
        """An object store with what applications have at the site's; what keeps it."""
        own = {name: one["buckets"] for name, one in self._settings["tenants"].items()}
        identities = [identity(name, self._keys[name], all_of(buckets)) for name, buckets in own.items()]
        identities.append(identity(KEEPER, self._keys[KEEPER], ["Admin"]))
        process = subprocess.Popen(
            bubble.data.command(*AS_POSTGRES, str(OBJECTS), "serve"),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        if process.stdin:
            process.stdin.write(json.dumps({"identities": identities, "address": bubble.data.address}))
            process.stdin.close()
        names = [bucket for buckets in own.values() for bucket in buckets]
        qhs_bubble_net.apart(bubble.data.handle, lambda: make(self._kept(bubble), names, process))
        there = Store(self._settings["objects_at"], str(TLS / "ca.crt"), READER, key(self._settings))
        self._say(objects={name: self._objects(there, name, bubble) for name in names})
        return process

    def _kept(self, bubble: Bubble) -> Store:
        return Store(self._settings["objects_at"], str(ROOT), KEEPER, self._keys[KEEPER], bubble.data.address)

    def _objects(self, there: Store, bucket: str, bubble: Bubble) -> dict[str, int]:
        """Copied, of a bucket. Raises FailedError where not all have come."""
        kept, copied, listed = self._kept(bubble), set(), [*there.objects(bucket)]
        room(sum(one.size for one in listed) // MIB)
        for one in listed:
            where, content = f"{bucket}/{one.key}", there.content(f"{bucket}/{one.key}")
            # It may be another version by now.
            size = int(content.headers["content-length"])
            qhs_bubble_net.apart(bubble.data.handle, partial(kept.take, where, content, size))
            copied.add(Object(one.key, size))
        found = qhs_bubble_net.apart(bubble.data.handle, lambda: {*kept.objects(bucket)})
        if lacking := copied - found:
            raise FailedError(f"{bucket}: found {len(lacking)} objects not copied, {min(lacking).key}; wanted all")
        return {"objects": len(found), "bytes": sum(one.size for one in found)}

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
            "tenant": name,
            "key": self._keys[name],
            "passwords": {one: self._passwords[one] for one in self._settings["tenants"][name]["databases"]},
            "objects_at": self._settings["objects_at"],
            "buckets": self._settings["tenants"][name]["buckets"],
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


def make(kept: Store, buckets: list[str], process: subprocess.Popen[str]) -> None:
    """Buckets that take objects, as soon as the store does. Raises FailedError where it does not."""
    for name in buckets:
        probe = f"{name}/begun"
        for step in (partial(kept.make, name), partial(kept.put, probe, b"begun"), partial(kept.delete, probe)):
            patiently(step, process)


def patiently(step: Callable[[], None], process: subprocess.Popen[str]) -> None:
    """What a store that has just begun may not do yet. Raises FailedError."""
    end = time.monotonic() + BEGINS
    while True:
        try:
            step()
        except (StoreError, OSError, HTTPException) as error:
            if time.monotonic() > end or process.poll() is not None:
                raise FailedError(f"the object store has not begun: {error}") from None
            time.sleep(0.5)
        else:
            return


def key(settings: dict[str, Any]) -> str:
    """To what the site's store has. Raises AbsentError."""
    told = of_any(settings["nodes"], settings["way_in"], lambda asking: asking.secret(settings["identity"]))
    return str(told["key"])


def all_of(buckets: list[str]) -> list[str]:
    """The rights of whoever uses these buckets."""
    return [f"{right}:{bucket}" for bucket in buckets for right in ("Read", "Write", "List")]


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
    for bucket, one in found["buckets"].items():
        if one["said"]:
            yield f"{name}: found its bucket {bucket} so: {one['said']}; wanted it read and written"
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
    except (FailedError, NetworkError, StoreError, AbsentError, HTTPException, OSError, SubprocessError) as error:
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
