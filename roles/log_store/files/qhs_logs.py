#!/usr/bin/python3
"""The log store of a site: writes what comes, seals what is written, and names what was altered since.

    receive   write lines from standard input, each behind the address that it came from; rsyslogd starts this
    seal      chain what has come since the last time, and delete what was kept for long enough
    verify    name every line, file and seal that was altered, removed or put in; exit with 2 where there is one
    status    what `qhs comply` asks, as JSON; of files older than two days it verifies their length alone

A seal is a line of the chain. It holds, for each file that has grown since, from which byte to which and the SHA-256 of
these, the files deleted, and the SHA-256 of the seal before. That of each seal, a head, goes into the journal, and so
to the store of the other site: whoever rewrites a whole chain is found out there.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

LOGS = Path("/var/log/qhs")
CHAIN = Path("/var/lib/qhs-logs/chain")
MONTHS = Path("/etc/qhs/logs/months.json")
NAME = re.compile(r"[0-9a-f.:]+/(\d{4}-\d\d-\d\d)\.log")
HEAD = re.compile(r" qhs-logs \d+ - -  ?sealed files=\d+ head=([0-9a-f]{64})$")
CHUNK = 1 << 20
LAST_LINES = timedelta(hours=1)  # after a day, until nobody writes into its files any more
RECENT = timedelta(days=2)


@dataclass(frozen=True)
class Seal:
    """A line of the chain."""

    at: datetime
    sealed: dict[str, tuple[int, int, str]]
    """By file: first byte, byte after the last, SHA-256."""
    deleted: tuple[str, ...]
    previous: str
    head: str
    """The SHA-256 of the line itself."""

    @classmethod
    def read(cls, line: bytes) -> Seal:
        """Raises ValueError, TypeError or KeyError where it is none."""
        told = json.loads(line)
        sealed = {name: (int(start), int(end), str(digest)) for name, (start, end, digest) in told["sealed"].items()}
        head = hashlib.sha256(line).hexdigest()
        return cls(datetime.fromisoformat(told["at"]), sealed, tuple(told["deleted"]), told["previous"], head)


def receive() -> None:
    """Says of every line whether it is written; rsyslogd keeps the others and sends them again."""
    _say("OK")
    for received in sys.stdin.buffer:
        address, _, line = received.partition(b" ")
        try:
            append(LOGS / str(ip_address(address.decode())) / f"{datetime.now(UTC):%Y-%m-%d}.log", line)
        except OSError as error:
            _say(f"not written: {error}")
        else:
            _say("OK")


def _say(answer: str) -> None:
    print(answer, flush=True)


def append(path: Path, line: bytes) -> None:
    """The whole line or nothing of it. Raises OSError."""
    path.parent.mkdir(exist_ok=True)
    written = 0
    with path.open("ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            written = file.write(line)
        finally:
            if written != len(line):
                file.truncate(end)
    if written != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def seal(now: datetime) -> None:
    """Chain what has come; delete what the chain says is deleted, also where an earlier run did not get to it."""
    CHAIN.touch()
    with CHAIN.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        seals = [one for one in chain() if isinstance(one, Seal)]
        lengths, gone = sealed_lengths(seals), deleted(seals)
        grown = {}
        for name in logs():
            start, end = lengths.get(name, 0), whole_lines(LOGS / name)
            if end > start:
                grown[name] = (start, end, digest(LOGS / name, start, end))
        due = [name for name in logs() if name not in grown and name not in gone and over(name, now)]
        if grown or due:
            previous = seals[-1].head if seals else ""
            told = {"at": now.isoformat(), "sealed": grown, "deleted": due, "previous": previous}
            line = json.dumps(told).encode()
            append(CHAIN, line + b"\n")
            print(f"sealed files={len(grown)} head={hashlib.sha256(line).hexdigest()}")
        for name in gone.union(due):
            (LOGS / name).unlink(missing_ok=True)


def chain() -> Iterator[Seal | str]:
    """Every seal; of what is none, or does not follow from the one before, what is wrong."""
    previous = ""
    for number, line in enumerate(CHAIN.read_bytes().splitlines() if CHAIN.exists() else [], 1):
        try:
            one = Seal.read(line)
        except (ValueError, TypeError, KeyError):
            yield f"seal {number}: altered"
            previous = hashlib.sha256(line).hexdigest()
            continue
        if one.previous != previous:
            yield f"seal {number}: does not follow from the one before; one was altered, removed or put in"
        previous = one.head
        yield one


def sealed_lengths(seals: list[Seal]) -> dict[str, int]:
    """Up to which byte each file is sealed."""
    return {name: end for one in seals for name, (_, end, _) in one.sealed.items()}


def deleted(seals: list[Seal]) -> set[str]:
    """The files that were kept for long enough."""
    return {name for one in seals for name in one.deleted}


def files() -> list[str]:
    """Everything below the logs, as `address/day.log`."""
    return sorted(str(path.relative_to(LOGS)) for path in LOGS.rglob("*") if not path.is_dir())


def logs() -> list[str]:
    """The files that can have come as logs come, in the order of their days."""
    return [name for name in files() if NAME.fullmatch(name)]


def whole_lines(path: Path) -> int:
    """The length of a file without a line that is being written."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        tail = file.seek(max(0, size - CHUNK))
        return tail + file.read(size - tail).rfind(b"\n") + 1


def digest(path: Path, start: int, end: int) -> str:
    """SHA-256 of these bytes of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK, end - start))):
            found.update(chunk)
            start += len(chunk)
    return found.hexdigest()


def day(name: str) -> date:
    """Of the lines in a file."""
    return date.fromisoformat(name[-14:-4])


def over(name: str, now: datetime) -> bool:
    """Whether a file was kept for as long as the network of its sender asks."""
    first, last = day(name), now.date()
    months = (last.year - first.year) * 12 + last.month - first.month - (last.day < first.day)
    return months >= kept(sender(name))


def sender(name: str) -> str:
    """The address that a file's lines came from."""
    return name.partition("/")[0]


def kept(address: str) -> int:
    """For how many months what comes from an address is kept."""
    months: dict[str, int] = json.loads(MONTHS.read_text())
    here = [count for network, count in months.items() if ip_address(address) in ip_network(network)]
    return max(here or months.values())


def faults(deep: Callable[[str], bool]) -> list[str]:
    """What was altered, removed or put in; the content of a file is read where `deep` says so."""
    if not CHAIN.exists():
        return ["no chain: removed, or nothing was ever sealed"]
    told = list(chain())
    seals = [one for one in told if isinstance(one, Seal)]
    found = [one for one in told if isinstance(one, str)]
    gone, there, lengths = deleted(seals), set(files()), sealed_lengths(seals)
    unsealed = there - lengths.keys()
    stray = [name for name in unsealed if not NAME.fullmatch(name) or closed(name, seals)]
    found += [f"{name}: removed" for name in sorted(lengths.keys() - gone - there)]
    found += [f"{name}: put in" for name in sorted({*stray, *(gone & there)})]
    for name in sorted(there & lengths.keys() - gone):
        found += altered(name, seals, deep(name))
    return found


def closed(name: str, seals: list[Seal]) -> bool:
    """Whether the day of a file was over when the last seal was made."""
    end = datetime.combine(day(name), datetime.min.time(), UTC) + timedelta(days=1)
    return bool(seals) and seals[-1].at >= end + LAST_LINES


def altered(name: str, seals: list[Seal], deep: bool) -> Iterator[str]:
    """What is wrong with a file that has seals."""
    ranges = [one.sealed[name] for one in seals if name in one.sealed]
    size, end = (LOGS / name).stat().st_size, ranges[-1][1]
    if size < end or (closed(name, seals) and size > end):
        yield f"{name}: {size} bytes, sealed were {end}; lines were {'removed' if size < end else 'put in'}"
    elif [start for start, _, _ in ranges] != [0, *(end for _, end, _ in ranges[:-1])]:
        yield f"{name}: its seals leave lines out"
    elif deep:
        for start, end, wanted in ranges:
            if digest(LOGS / name, start, end) != wanted:
                yield f"{name}: altered between bytes {start} and {end}"


def status(now: datetime) -> dict[str, Any]:
    """What is wrong; heads of late, own ones and those that senders have told; how long senders are silent."""
    late = [name for name in logs() if day(name) >= (now - RECENT).date()]
    witnessed: dict[str, list[str]] = {}
    for name in late:
        witnessed.setdefault(sender(name), []).extend(told_heads(LOGS / name))
    last = {sender(name): (LOGS / name).stat().st_mtime for name in logs()}
    return {
        "faults": faults(lambda name: name in late),
        "heads": [one.head for one in chain() if isinstance(one, Seal) and one.at >= now - 2 * RECENT],
        "witnessed": {address: heads for address, heads in witnessed.items() if heads},
        "senders": {
            address: {"silent_minutes": round((now.timestamp() - then) / 60, 1), "months": kept(address)}
            for address, then in last.items()
        },
    }


def told_heads(path: Path) -> list[str]:
    """The heads that a sender has told; only a store has any."""
    with path.open(errors="replace") as file:
        return [match[1] for line in file if (match := HEAD.search(line.rstrip("\n")))]


def main() -> None:
    """Entry point."""
    match sys.argv[1:]:
        case ["receive"]:
            receive()
        case ["seal"]:
            seal(datetime.now(UTC))
        case ["verify"]:
            found = faults(lambda _: True)
            print("\n".join(found) or f"{len(files())} files are as they were sealed")
            sys.exit(2 if found else 0)
        case ["status"]:
            print(json.dumps(status(datetime.now(UTC))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
