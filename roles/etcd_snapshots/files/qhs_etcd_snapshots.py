#!/usr/bin/python3 -B
"""Snapshots of the store of a site's cluster, on one of its members.

    take            have one more that verifies, and the newest KEPT of all
    newest          print the newest that verifies, as JSON: name, seconds since the epoch, revision
    verify NAME     the same of this one; one that is not whole fails
    hold NAME       print the name by which a snapshot is kept until `release`, however many newer ones come
    release         keep none that was held
    receive NAME    have the snapshot on standard input by this name, if it verifies
    prepare NAME BUMP
                    make data of it for this member, so many revisions ahead of it, beside what its server goes on with
    swap            with the server stopped: have that data, and keep what was before
    back            with the server stopped: have again what was before, if anything is kept
    settle          keep what was before no longer

What fails is a line on standard error, with exit code 1. Whoever uses `prepare` on one member does so on all of them,
with the same number: each data that is made of a snapshot begins a cluster of all the members.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path("/var/lib/qhs-etcd-snapshots")
METRICS = Path("/var/lib/prometheus/node-exporter/qhs_etcd_snapshots.prom")
STORE = Path("/var/lib/qhs-etcd")
DATA, BEFORE, RESTORED = STORE / "member", STORE / "member.before", STORE / "restored"
MEMBER = Path("/etc/qhs/etcd/member.env")
KEPT = 6
"""Snapshots. A store is 256 MiB at most, so they are 1.5 GiB at most."""
WITHIN = 240
"""Seconds for one command: the service that takes snapshots is ended after 300."""
DIGEST = hashlib.sha256().digest_size
HELD = "held-"
PIECE = 2**20
"""Bytes at a time: a store may be as large as the memory of its machine."""
NAME = "%Y%m%dT%H%M%SZ.db"


class UnfitError(Exception):
    """What is wrong with a snapshot, or with what it is to be made of."""


def take() -> None:
    """Raises UnfitError where the store gives none, or none that verifies: nothing that is kept is given up then."""
    for leftover in FOLDER.glob("new*"):
        leftover.unlink()
    new = FOLDER / "new"
    _run("/usr/bin/etcdctl", "endpoint", "health")  # `save` waits for ever for a server that is not there
    _run("/usr/bin/etcdctl", "snapshot", "save", str(new))
    verify(new)
    new.chmod(0o600)
    new.rename(FOLDER / datetime.now(UTC).strftime(NAME))
    for old in kept()[:-KEPT]:
        old.unlink()


def kept() -> list[Path]:
    """The newest last."""
    return sorted(FOLDER.glob("[0-9]*Z.db"))


def verify(file: Path) -> dict[str, Any]:
    """What it holds. Raises UnfitError where it is not what the server sent, or its pages do not fit together."""
    try:
        found, wanted = _digests(file)
    except OSError as error:
        raise UnfitError(f"{file}: {error.strerror}") from None
    if found != wanted:
        raise UnfitError(f"{file}: found content that its own digest does not fit; wanted it as the store sent it")
    status: dict[str, Any] = json.loads(_run("/usr/bin/etcdutl", "snapshot", "status", str(file), "--write-out=json"))
    return status


def told(file: Path) -> dict[str, Any]:
    """Name, when it was taken, and revision. Raises UnfitError where it does not verify."""
    return {"name": file.name, "seconds": _taken(file), "revision": verify(file)["revision"]}


def newest() -> dict[str, Any]:
    """Raises UnfitError where none verifies."""
    said = [f"{FOLDER}: found no snapshot"]
    for file in reversed(kept()):
        try:
            return told(file)
        except UnfitError as error:
            said.append(str(error))
    raise UnfitError("; ".join(said[1:] or said))


def hold(name: str) -> str:
    """Raises UnfitError where it does not verify."""
    verify(FOLDER / name)
    held = FOLDER / (HELD + name)
    held.unlink(missing_ok=True)
    held.hardlink_to(FOLDER / name)
    return held.name


def release() -> None:
    """Held are those of one upgrade alone."""
    for held in FOLDER.glob(f"{HELD}*"):
        held.unlink()


def receive(name: str) -> None:
    """Raises UnfitError where what comes is not whole."""
    new = FOLDER / "received.new"
    with new.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    verify(new)
    new.rename(FOLDER / name)


def report() -> None:
    """For the alert that there is no new one; 0: there is none at all."""
    seconds = max(map(_taken, kept()), default=0)
    with suppress(OSError), METRICS.open("w") as file:
        file.write(f"qhs_etcd_snapshot_seconds {seconds}\n")


def prepare(name: str, bump: str) -> None:
    """Raises UnfitError, with nothing there that is half made."""
    file, making = FOLDER / name, RESTORED.with_suffix(".new")
    verify(file)
    for old in (making, RESTORED):
        shutil.rmtree(old, ignore_errors=True)
    known = dict(line.split("=", 1) for line in MEMBER.read_text().splitlines() if line.startswith("ETCD_"))
    said = {
        "name": known["ETCD_NAME"],
        "initial-cluster": known["ETCD_INITIAL_CLUSTER"],
        "initial-cluster-token": known["ETCD_INITIAL_CLUSTER_TOKEN"],
        "initial-advertise-peer-urls": known["ETCD_INITIAL_ADVERTISE_PEER_URLS"],
        "data-dir": str(making),
        # Watchers know revisions that the snapshot does not: it must go on above them, and say that it cannot tell what
        # was between, so that each asks anew for all there is.
        "bump-revision": bump,
    }
    options = [f"--{option}={value}" for option, value in said.items()]
    _run("/usr/bin/etcdutl", "snapshot", "restore", str(file), *options, "--mark-compacted")
    owner = STORE.stat()
    for path in (making, *making.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    making.rename(RESTORED)


def swap() -> None:
    """Raises UnfitError where nothing is prepared. What a restore that was cut off put aside stays what was before."""
    if not (RESTORED / DATA.name).is_dir():
        raise UnfitError(f"found no {RESTORED}; wanted what `prepare` makes")
    if BEFORE.exists():
        shutil.rmtree(DATA, ignore_errors=True)
    elif DATA.exists():
        DATA.rename(BEFORE)
    (RESTORED / DATA.name).rename(DATA)
    shutil.rmtree(RESTORED)


def back() -> None:
    """Where nothing is kept, what there is is what was before."""
    if BEFORE.exists():
        shutil.rmtree(DATA, ignore_errors=True)
        BEFORE.rename(DATA)


def settle() -> None:
    """What was before is nothing that anybody goes back to."""
    shutil.rmtree(BEFORE, ignore_errors=True)


def main() -> int:
    """Runs one verb. Returns the exit code."""
    os.umask(0o077)
    try:
        match sys.argv[1:]:
            case ["take"]:
                report()  # also where no new one comes
                take()
                report()
            case ["newest"]:
                print(json.dumps(newest()))
            case ["verify", name]:
                print(json.dumps(told(FOLDER / name)))
            case ["hold", name]:
                print(hold(name))
            case ["receive", name]:
                receive(name)
            case ["prepare", name, bump]:
                prepare(name, bump)
            case ["swap" | "back" | "settle" | "release" as verb]:
                {"swap": swap, "back": back, "settle": settle, "release": release}[verb]()
            case _:
                sys.exit(__doc__)
    except UnfitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _digests(file: Path) -> tuple[bytes, bytes]:
    """Of the content, and the one that the server ended it with, which `snapshot status` passes over."""
    content, left = hashlib.sha256(), file.stat().st_size - DIGEST
    with file.open("rb") as opened:
        while left > 0 and (some := opened.read(min(left, PIECE))):
            content.update(some)
            left -= len(some)
        return content.digest(), opened.read()


def _taken(file: Path) -> int:
    """Seconds since the epoch, by its name: a copy keeps no other date. Raises UnfitError where it says none."""
    try:
        return int(datetime.strptime(file.name.removeprefix(HELD), NAME).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise UnfitError(f"{file}: found a name that says no time; wanted that of a snapshot") from None


def _run(*words: str) -> str:
    """What it prints. Raises UnfitError with what it said."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=WITHIN)
    except subprocess.TimeoutExpired:
        raise UnfitError(f"{' '.join(words[:3])}: no end within {WITHIN} s") from None
    if done.returncode:
        raise UnfitError(f"{' '.join(words[:3])}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
