#!/usr/bin/python3
"""The ruleset API of one machine: an SSH forced command that owns the table `inet qhs` and nothing else.

Over SSH: `check HASH` and `apply HASH` (ruleset on standard input), `confirm HASH`, `read`. HASH is the SHA-256 of
the ruleset, so that a text cut short is refused. A ruleset may begin with a comment that names the resource which put
it there, and `read` says that name. What is applied is undone after ROLLBACK seconds unless it is
confirmed; what is confirmed is loaded at boot. Locally: `boot` and `rollback`, called by units; `confirmed` and `take`,
by which a member of a firewall pair tells the other one what it has, and takes what that one has.

Answers are one line of JSON; an error is {"error": {"code", "message"}} with exit code 1.
"""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import syslog
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CONFIRMED = Path("/etc/qhs/ruleset.nft")
FIRST_BOOT = Path("/etc/qhs/first-boot.nft")
STATE = Path("/run/qhs-ruleset")
PENDING = STATE / "pending.json"
LOCK = STATE / "lock"
ROLLBACK, BUSY = 30, 10  # seconds
LARGEST = 4 * 1024 * 1024

CHAINS = ("input", "forward", "output")
_HOOK = "chain {0} {{ type filter hook {0} priority filter; policy drop; }}\n"
DENY_ALL = f"table inet qhs {{\n{''.join(map(_HOOK.format, CHAINS))}}}\n"
# In one transaction, and the chains stay: the kernel gives a new one its policy only after it took the old one's place,
# and lets pass until then what no rule matches. The first line makes sure that there is a table.
EMPTY = "table inet qhs {}\nflush table inet qhs\n"

HASH = re.compile(r"[0-9a-f]{64}")
# The lines of our table. A rule begins with a match of ours, so that no `include` and no set passes, and has no `;`
# and only closed braces, so that it closes neither its chain nor the table.
LINES = {
    "n": r"# ([\w./-]+ [\w:.$/-]+)",
    "t": r"table inet qhs \{",
    "c": r"\tchain (input|forward|output) \{",
    "h": r"\t\ttype filter hook (input|forward|output) priority filter; policy drop;",
    "r": r"\t\t((iifname|oifname|meta|ip|ip6|tcp|udp|sctp|icmp|icmpv6|ct) ([\w.:/,<>=\" -]|\{[\w.:/, -]*\})*)?"
    r'counter (accept|drop) comment "[\w:.-]+"',
    "e": r"\t\}",
    "x": r"\}",
}
# Of a rule's line; and with figures and the rule's comment, once the kernel shows it.
COUNTER = " counter "
COUNTED = re.compile(r"( counter packets \d+ bytes \d+ ).* comment (\".*\")")
ORDER = r"n?t(chr*e){3}x"


class RefusedError(Exception):
    """What the caller is told."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def main() -> int:
    """Runs one verb. Returns the exit code."""
    remote = os.environ.get("SSH_ORIGINAL_COMMAND")
    os.umask(0o077)
    try:
        answer = run(sys.argv[1:], {**REMOTE, **LOCAL}) if remote is None else run(remote.split(), REMOTE)
    except RefusedError as refused:
        answer = {"error": {"code": refused.code, "message": str(refused)}}
    except OSError as error:
        answer = {"error": {"code": "failed", "message": f"{error.filename or 'system'}: {error.strerror}"}}
    if remote is not None:
        syslog.syslog(syslog.LOG_AUTH | syslog.LOG_NOTICE, f"{remote[:80]!r}: {answer.get('error', 'done')}")
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


def run(words: list[str], verbs: "dict[str, Verb]") -> dict[str, Any]:
    """Takes `VERB` or `VERB HASH`, and nothing else."""
    verb, *rest = words or [""]
    if verb not in verbs:
        raise RefusedError("usage", f"verb {verb[:20]!r} is none of {', '.join(sorted(verbs))}")
    needs_hash = verb not in ("read", *LOCAL)
    if len(rest) != needs_hash or any(not HASH.fullmatch(one) for one in rest):
        raise RefusedError("usage", f"{verb} takes {'one SHA-256 in hexadecimal' if needs_hash else 'nothing'}")
    return verbs[verb](*rest)


def check(wanted: str) -> dict[str, Any]:
    """Says whether the ruleset on standard input would be taken now."""
    text = received(wanted)
    with locked():
        refuse_beside_pending()
        load(text, "--check")
    return {"checked": wanted}


def apply(wanted: str) -> dict[str, Any]:
    """Replaces the table by the ruleset on standard input, for ROLLBACK seconds."""
    text = received(wanted)
    with locked():
        refuse_beside_pending()
        load(text, "--check")
        until = clock() + ROLLBACK
        # In this order a crash at any point leaves the old table, or the new one with its way back.
        write(PENDING, json.dumps({"hash": wanted, "until": until, "text": text, "previous": current()}))
        arm()
        try:
            load(counted(text))
        except RefusedError:
            PENDING.unlink()
            raise
    return {"applied": wanted, "confirm_within": ROLLBACK}


def confirm(wanted: str) -> dict[str, Any]:
    """Keeps the ruleset that was applied, also over a boot."""
    with locked():
        waiting = pending()
        if not waiting and hash_of(CONFIRMED) == wanted:
            return {"confirmed": wanted}  # an answer was lost and the caller asks again
        if not waiting or waiting["hash"] != wanted:
            found = waiting["hash"][:12] if waiting else "nothing"
            raise RefusedError(
                "nothing-pending", f"{found} waits for a confirmation, not {wanted[:12]}: apply it again"
            )
        write(CONFIRMED, waiting["text"])
        PENDING.unlink()
    return {"confirmed": wanted}


def read() -> dict[str, Any]:
    """What the kernel enforces, what the next boot loads, and what waits for a confirmation."""
    with locked():
        waiting = pending()
        return {
            "confirmed": hash_of(CONFIRMED),
            "resource": resource(),
            "pending": waiting["hash"] if waiting else None,
            "nft": json.loads(nft("-j", "list", "table", "inet", "qhs")) if exists() else None,
        }


def rollback() -> dict[str, Any]:
    """Undoes what has waited too long for its confirmation."""
    with locked():
        waiting = pending()
    return {"pending": waiting["hash"] if waiting else None}


def boot() -> dict[str, Any]:
    """Loads the confirmed ruleset; the first-boot one where none loads; denies everything where neither does.

    The network does not start after an error: so it is none that the first-boot ruleset, which lets in who can repair
    the other, was loaded instead. Whoever reads the machine sees that it does not enforce what is confirmed.
    """
    faults = []
    for path in (CONFIRMED, FIRST_BOOT):
        try:
            load(ours(path.read_text("ascii")))
        except (OSError, UnicodeDecodeError, RefusedError) as fault:
            faults.append(f"{path}: {fault}")
            continue
        return {"loaded": str(path), "faults": faults}
    load(DENY_ALL)
    raise RefusedError("boot", f"everything is denied: {'; '.join(faults)}")


def confirmed() -> dict[str, Any]:
    """The ruleset that the next boot loads, and since when, in seconds since the epoch."""
    text = stored(CONFIRMED)
    return {"text": text, "since": CONFIRMED.stat().st_mtime if text else None}


def take() -> dict[str, Any]:
    """Enforces and keeps what another machine has confirmed: on standard input, as `confirmed` told it there."""
    given = json.loads(sys.stdin.read(LARGEST))
    text = ours(given["text"])
    with locked():
        refuse_beside_pending()
        load(counted(text))
        write(CONFIRMED, text)
        os.utime(CONFIRMED, (given["since"], given["since"]))
    return {"confirmed": hash_of(CONFIRMED)}


Verb = Callable[..., dict[str, Any]]
REMOTE: dict[str, Verb] = {"check": check, "apply": apply, "confirm": confirm, "read": read}
LOCAL: dict[str, Verb] = {"boot": boot, "rollback": rollback, "confirmed": confirmed, "take": take}


def received(wanted: str) -> str:
    """The ruleset on standard input, if it is whole and nothing but our table."""
    given = sys.stdin.buffer.read(LARGEST + 1)
    if len(given) > LARGEST:
        raise RefusedError("too-large", f"the ruleset is larger than {LARGEST} bytes")
    found = hashlib.sha256(given).hexdigest()
    if found != wanted:
        raise RefusedError("hash", f"{len(given)} bytes came with SHA-256 {found[:12]}, announced was {wanted[:12]}")
    try:
        return ours(given.decode("ascii"))
    except UnicodeDecodeError as error:
        raise RefusedError("refused", f"byte {error.start} is not ASCII") from error


def ours(text: str) -> str:
    """The text, if it is exactly our one table in the form that `qhs` writes."""
    found = ""
    for number, line in enumerate(text.split("\n"), 1):
        kind = next((kind for kind, form in LINES.items() if re.fullmatch(form, line)), "")
        if line and not kind:
            raise RefusedError("refused", f"line {number} is not as qhs writes a table inet qhs: {line.strip()[:80]!r}")
        found += kind
    if not re.fullmatch(ORDER, found):
        raise RefusedError("refused", "the lines are not one whole table inet qhs with its three chains")
    return text


def pending() -> "dict[str, Any] | None":
    """What waits for a confirmation. What has waited too long is undone first: its timer may have died."""
    if not PENDING.exists():
        return None
    waiting: dict[str, Any] = json.loads(PENDING.read_text())
    if waiting["until"] > clock():
        return waiting
    # A confirmation that was cut off after it wrote the file counts.
    if hash_of(CONFIRMED) != waiting["hash"]:
        load(waiting["previous"])
    PENDING.unlink()
    return None


def refuse_beside_pending() -> None:
    """One at a time: what waits is confirmed or undone first."""
    if waiting := pending():
        left = round(waiting["until"] - clock())
        raise RefusedError("pending", f"ruleset {waiting['hash'][:12]} is not confirmed yet: try again in {left} s")


def current() -> str:
    """The table that is enforced now, counters and all; what a boot would load where there is none."""
    if exists():
        return nft("list", "table", "inet", "qhs")
    return next((text for path in (CONFIRMED, FIRST_BOOT) if (text := stored(path))), DENY_ALL)


def counted(text: str) -> str:
    """The ruleset with what each of its rules has counted already, if it was a rule of the confirmed one too.

    nft writes rules in another form than ours: they are known by their order. Where the kernel's are not those that
    were confirmed, counting begins anew. What passes while the table is replaced is not counted.
    """
    known = [line for line in (stored(CONFIRMED) or "").splitlines() if COUNTER in line]
    shown = nft("list", "table", "inet", "qhs") if exists() else ""
    found = COUNTED.findall(shown)
    if [named(line) for line in known] != [name for _, name in found]:
        return text
    counters = {line: counter for line, (counter, _) in zip(known, found, strict=True)}
    return "\n".join(line.replace(COUNTER, counters.get(line, COUNTER), 1) for line in text.split("\n"))


def named(rule: str) -> str:
    """The comment of a rule's line."""
    return rule.rpartition(" comment ")[2]


def stored(path: Path) -> "str | None":
    """A ruleset on the disk, or nothing where it is none."""
    try:
        return ours(path.read_text("ascii"))
    except (OSError, UnicodeDecodeError, RefusedError):
        return None


def resource() -> "str | None":
    """The name in the first line of the confirmed ruleset, or nothing where it has none."""
    if not CONFIRMED.exists():
        return None
    first = CONFIRMED.read_text(errors="replace").partition("\n")[0]
    named = re.fullmatch(LINES["n"], first)
    return named[1] if named else None


def exists() -> bool:
    """Whether the kernel has our table."""
    return "table inet qhs" in nft("list", "tables").splitlines()


def arm() -> None:
    """Sees to it that `rollback` runs in time, whatever becomes of this process and its session."""
    if Path("/run/systemd/system").is_dir():
        timer = ["systemd-run", "--quiet", "--collect", "--timer-property=AccuracySec=100ms"]
        run_later = [*timer, f"--on-active={ROLLBACK}s", __file__, "rollback"]
        done = subprocess.run(run_later, capture_output=True, text=True, check=False)
        if done.returncode:
            PENDING.unlink()
            raise RefusedError("failed", f"nothing was applied, as no rollback could be armed: {done.stderr.strip()}")
        return
    # Without systemd: a process in a session of its own, so that it outlives this one.
    waiter = f"exec </dev/null >/dev/null 2>&1; sleep {ROLLBACK}; exec {sys.executable} {__file__} rollback"
    environment = {key: value for key, value in os.environ.items() if key != "SSH_ORIGINAL_COMMAND"}
    subprocess.Popen(["/bin/sh", "-c", waiter], start_new_session=True, env=environment)


def load(text: str, *options: str) -> None:
    """Replaces what is in our table by the text, in one transaction."""
    gone = "".join(f"delete {kind} inet qhs {name}\n" for kind, name in strangers())
    nft(*options, "-f", "-", text=EMPTY + gone + text)


def strangers() -> "list[tuple[str, str]]":
    """What another hand put into our table beside rules, by kind and name; chains last, as maps may lead to them."""
    shown = json.loads(nft("-j", "list", "table", "inet", "qhs"))["nftables"] if exists() else []
    found = [one for entry in shown for one in entry.items() if one[0] not in ("metainfo", "table", "rule")]
    foreign = [("set" if kind == "meter" else kind, one["name"]) for kind, one in found if not is_ours(kind, one)]
    return sorted(foreign, key=lambda one: one[0] == "chain")


def is_ours(kind: str, one: "dict[str, Any]") -> bool:
    """Whether it is a chain of ours, hooked as ours."""
    where = one.get("type"), one.get("hook"), one.get("prio")
    return kind == "chain" and one["name"] in CHAINS and where == ("filter", one["name"], 0)


def nft(*arguments: str, text: str = "") -> str:
    """Runs nft and returns what it prints. It gets UTC, as it reads and shows dates in the zone of its environment."""
    environment = {"TZ": "UTC", "PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["/usr/sbin/nft", *arguments], input=text, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RefusedError("invalid", "nft: " + " ".join(done.stderr.split())[:400])
    return done.stdout


@contextmanager
def locked() -> Iterator[None]:
    """One at a time, so that `previous` is what it says."""
    STATE.mkdir(mode=0o700, exist_ok=True)
    with LOCK.open("w") as lock:
        end = clock() + BUSY
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if clock() > end:
                    raise RefusedError(
                        "busy", f"another qhs-ruleset has been at work for {BUSY} s: try again"
                    ) from None
                time.sleep(0.05)
        yield


def write(path: Path, text: str) -> None:
    """The whole file or the old one, also after a power cut."""
    fresh = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    with fresh.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def hash_of(path: Path) -> "str | None":
    """SHA-256 of a file, or nothing where it is not."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def clock() -> float:
    """Seconds since boot, which no change of the date moves."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


if __name__ == "__main__":
    sys.exit(main())
