#!/usr/bin/python3
"""The log store of a site: writes what comes, seals what is written, and names what was altered since.

    receive   write lines from standard input, each behind the address that it came from; rsyslogd starts this
    seal      chain what has come since the last time, and delete what was kept for long enough
    verify    name every line, file and seal that was altered, removed or put in; exit with 2 where there is one
    status    what `qhs comply` asks, as JSON; of files older than two days it verifies their length alone

A seal is a line of the chain. It holds, for each file that has grown since, from which byte to which and the SHA-256 of
these, the files deleted and for how many months each was kept, and the SHA-256 of the seal before. That of each seal, a
head, goes into the journal, and so to the store of the other site: whoever rewrites a whole chain is found out there.
The chain has a file a month. Its first seal also says up to where all that is there was sealed, so that the earlier
files are read by `verify` alone.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

LOGS = Path("/var/log/qhs")
CHAIN = Path("/var/lib/qhs-logs/chain")
MONTHS = Path("/etc/qhs/logs/months.json")
NAME = re.compile(r"[0-9a-f.:]+/(\d{4}-\d\d-\d\d)\.log")
HEAD = re.compile(r" qhs-logs \d+ - -  ?sealed files=\d+ head=([0-9a-f]{64})$")
CHUNK = 1 << 20
LATE_MONTHS = 2  # files of the chain that hold all that is asked of late days
LAST_LINES = timedelta(hours=1)  # after a day, until nobody writes into its files any more
RECENT = timedelta(days=2)


@dataclass(frozen=True)
class Seal:
    """A line of the chain."""

    at: datetime
    sealed: dict[str, tuple[int, int, str]]
    """By file: first byte, byte after the last, SHA-256."""
    deleted: dict[str, int]
    """For how many months each was kept."""
    carried: dict[str, int]
    """Where the file of the chain begins: up to which byte each file was sealed by then."""
    previous: str
    head: str
    """The SHA-256 of the line itself."""

    @classmethod
    def read(cls, line: bytes) -> Seal:
        """Raises ValueError where it is none."""
        try:
            told = json.loads(line)
            sealed = {name: (int(start), int(end), str(found)) for name, (start, end, found) in told["sealed"].items()}
            deleted = {name: int(months) for name, months in told["deleted"].items()}
            carried = {name: int(end) for name, end in told["carried"].items()}
            at = datetime.fromisoformat(told["at"]).astimezone(UTC)
            for name in (*sealed, *deleted, *carried):
                day(name)
            return cls(at, sealed, deleted, carried, str(told["previous"]), hashlib.sha256(line).hexdigest())
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no seal: {error!r}") from None


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


def append(path: Path, line: bytes, *, durable: bool = False) -> None:
    """The whole line or nothing of it, behind whole lines; `durable`: on the disk. Raises OSError."""
    path.parent.mkdir(exist_ok=True)
    written = 0
    with path.open("a+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
            end = whole_lines(path)  # the power went while the last one was written
            file.truncate(end)
        try:
            written = file.write(line)
        finally:
            if written != len(line):
                file.truncate(end)
        if durable:
            os.fsync(file.fileno())
    if written != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def seal(now: datetime) -> None:
    """Chain what has come; delete what the chain says is deleted, also where an earlier run did not get to it."""
    CHAIN.mkdir(exist_ok=True)
    held = os.open(CHAIN, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        _seal(now)
    finally:
        os.close(held)


def _seal(now: datetime) -> None:
    seals = [one for one in chain(links()[-1:]) if isinstance(one, Seal)]
    lengths, gone = sealed_lengths(seals), deleted(seals)
    _finish(lengths, now)
    grown = {}
    for name in logs():
        start, end = lengths.get(name, 0), whole_lines(LOGS / name)
        if end > start:
            grown[name] = (start, end, digest(LOGS / name, start, end, durable=True))
    due = {name: kept(sender(name)) for name in logs() if name not in {*grown, *gone} and over(name, now)}
    if grown or due or not seals:  # a store that has no line yet has a seal too, or a lost chain would look like that
        link = max([CHAIN / f"{now:%Y-%m}", *links()[-1:]])
        carried = {} if link.exists() else {name: end for name, end in lengths.items() if name not in gone}
        previous = seals[-1].head if seals else ""
        told = {"at": now.isoformat(), "sealed": grown, "deleted": due, "carried": carried, "previous": previous}
        line = json.dumps(told).encode()
        append(link, line + b"\n", durable=True)
        print(f"sealed files={len(grown)} head={hashlib.sha256(line).hexdigest()}")
    for name in gone.union(due):
        (LOGS / name).unlink(missing_ok=True)


def _finish(lengths: dict[str, int], now: datetime) -> None:
    """Of days that are over, what a loss of power has left: a line begun, a file without any."""
    for name in logs():
        path = LOGS / name
        if now >= end_of(name) and path.stat().st_size > (whole := whole_lines(path)) >= lengths.get(name, 0):
            os.truncate(path, whole)
        if now >= end_of(name) and not path.stat().st_size and name not in lengths:
            path.unlink()


def links() -> list[Path]:
    """The files of the chain in their order."""
    return sorted(CHAIN.iterdir()) if CHAIN.exists() else []


def chain(read: list[Path]) -> Iterator[Seal | str]:
    """Every seal of these files; of what is none, or does not follow from the one before, what is wrong."""
    previous = "" if read == links() else None
    for file in read:
        for number, line in enumerate(file.read_bytes().splitlines(), 1):
            where = f"seal {number} of {file.name}"
            try:
                one = Seal.read(line)
            except ValueError:
                yield f"{where}: altered"
                previous = hashlib.sha256(line).hexdigest()
                continue
            if previous not in (one.previous, None):
                yield f"{where}: does not follow from the one before; one was altered, removed or put in"
            previous = one.head
            yield one


def sealed_lengths(seals: list[Seal]) -> dict[str, int]:
    """Up to which byte each file is sealed."""
    carried = dict(seals[0].carried) if seals else {}
    return carried | {name: end for one in seals for name, (_, end, _) in one.sealed.items()}


def deleted(seals: list[Seal]) -> set[str]:
    """The files that were kept for long enough."""
    return {name for one in seals for name in one.deleted}


def files() -> list[str]:
    """Everything below the logs, as `address/day.log`."""
    return sorted(str(path.relative_to(LOGS)) for path in LOGS.rglob("*") if not path.is_dir() or path.is_symlink())


def logs() -> list[str]:
    """The files that can have come as logs come, in the order of their days."""
    return [name for name in files() if is_log(name)]


def is_log(name: str) -> bool:
    """Whether a name has an address and a day, and is that of a file."""
    try:
        if not NAME.fullmatch(name):
            return False
        ip_address(sender(name))
        day(name)
        return stat.S_ISREG((LOGS / name).lstat().st_mode)
    except ValueError:
        return False


def whole_lines(path: Path) -> int:
    """The length of a file without a line that is being written."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        tail = file.seek(max(0, size - CHUNK))
        return tail + file.read(size - tail).rfind(b"\n") + 1


def digest(path: Path, start: int, end: int, *, durable: bool = False) -> str:
    """SHA-256 of these bytes of a file; `durable`: once they are on the disk."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        if durable:
            os.fsync(file.fileno())
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK, end - start))):
            found.update(chunk)
            start += len(chunk)
    return found.hexdigest()


def day(name: str) -> date:
    """Of the lines in a file."""
    return date.fromisoformat(name[-14:-4])


def end_of(name: str) -> datetime:
    """When nobody writes into a file any more."""
    return datetime.combine(day(name), datetime.min.time(), UTC) + timedelta(days=1) + LAST_LINES


def over(name: str, now: datetime) -> bool:
    """Whether a file was kept for as long as the network of its sender asks."""
    return age(name, now) >= kept(sender(name))


def age(name: str, now: datetime) -> int:
    """Whole months."""
    first, last = day(name), now.date()
    return (last.year - first.year) * 12 + last.month - first.month - (last.day < first.day)


def sender(name: str) -> str:
    """The address that a file's lines came from."""
    return name.partition("/")[0]


def kept(address: str) -> int:
    """For how many months what comes from an address is kept."""
    months: dict[str, int] = json.loads(MONTHS.read_text())
    here = [count for network, count in months.items() if ip_address(address) in ip_network(network)]
    return max(here or months.values())


def faults(read: list[Path], deep: Callable[[str], bool]) -> list[str]:
    """What was altered, removed or put in; the content of a file is read where `deep` says so."""
    if not read:
        return ["no chain: removed, or nothing was ever sealed"]
    told = list(chain(read))
    seals = [one for one in told if isinstance(one, Seal)]
    found = [one for one in told if isinstance(one, str)]
    gone, there, lengths = deleted(seals), set(files()), sealed_lengths(seals)
    last = seals[-1].at if seals else datetime.min.replace(tzinfo=UTC)
    stray = [name for name in there - lengths.keys() if not is_log(name) or last >= end_of(name)]
    found += untimely(seals)
    found += [f"{name}: removed" for name in sorted(lengths.keys() - gone - there)]
    found += [f"{name}: put in" for name in sorted({*stray, *(gone & there)})]
    ranges = by_file(seals)
    for name in sorted(there & lengths.keys() - gone):
        found += altered(name, ranges[name], last, deep(name))
    return found


def untimely(seals: list[Seal]) -> Iterator[str]:
    """What was sealed after its day was, and what was deleted too early."""
    for before, one in pairwise(seals):
        yield from (f"{name}: lines were put in after its day" for name in one.sealed if before.at >= end_of(name))
    for one in seals:
        early = [(name, months) for name, months in one.deleted.items() if age(name, one.at) < months]
        yield from (f"{name}: deleted before its {months} months" for name, months in early)


def by_file(seals: list[Seal]) -> dict[str, list[tuple[int, int, str]]]:
    """What is sealed of each file, in order; what was before the first of these seals has no digest."""
    ranges = {name: [(0, end, "")] for name, end in (seals[0].carried if seals else {}).items()}
    for one in seals:
        for name, sealed in one.sealed.items():
            ranges.setdefault(name, []).append(sealed)
    return ranges


def altered(name: str, ranges: list[tuple[int, int, str]], last: datetime, deep: bool) -> Iterator[str]:
    """What is wrong with a file that has seals."""
    size, end = (LOGS / name).stat().st_size, ranges[-1][1]
    if size < end or (last >= end_of(name) and size > end):
        yield f"{name}: {size} bytes, sealed were {end}; lines were {'removed' if size < end else 'put in'}"
    elif [start for start, _, _ in ranges] != [0, *(end for _, end, _ in ranges[:-1])]:
        yield f"{name}: its seals leave lines out"
    elif deep:
        for start, end, wanted in ranges:
            if wanted and digest(LOGS / name, start, end) != wanted:
                yield f"{name}: altered between bytes {start} and {end}"


def status(now: datetime) -> dict[str, Any]:
    """What is wrong; heads of late, own ones and those that senders have told; how long senders are silent."""
    late = [name for name in logs() if day(name) >= (now - RECENT).date()]
    witnessed: dict[str, list[str]] = {}
    for name in late:
        witnessed.setdefault(sender(name), []).extend(told_heads(LOGS / name))
    last = {sender(name): (LOGS / name).stat().st_mtime for name in logs()}
    read = links()[-LATE_MONTHS:]
    seals = [one for one in chain(read) if isinstance(one, Seal)]
    return {
        "faults": faults(read, lambda name: name in late),
        "sealed_minutes": minutes(now, seals[-1].at.timestamp()) if seals else None,
        "heads": [one.head for one in seals if one.at >= now - 2 * RECENT],
        "witnessed": {address: heads for address, heads in witnessed.items() if heads},
        "senders": {
            address: {"silent_minutes": minutes(now, then), "months": kept_of_late(address, seals)}
            for address, then in last.items()
        },
    }


def minutes(now: datetime, then: float) -> float:
    """Since a moment, in seconds since the epoch."""
    return round((now.timestamp() - then) / 60, 1)


def kept_of_late(address: str, seals: list[Seal]) -> int:
    """For how many months at least something of an address was kept, or is."""
    deletions = (months for one in seals for name, months in one.deleted.items() if sender(name) == address)
    return min([kept(address), *deletions])


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
            found = faults(links(), lambda _: True)
            print("\n".join(found) or f"{len(files())} files are as they were sealed")
            sys.exit(2 if found else 0)
        case ["status"]:
            print(json.dumps(status(datetime.now(UTC))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
