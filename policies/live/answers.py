"""What a machine answered to `policies.live.probe`, as facts. Pure; an answer that is missing or odd is a gap."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from policies.live.facts import (
    AuditRule,
    Chain,
    Clock,
    Following,
    Host,
    Hsm,
    LogStore,
    LogTarget,
    Replication,
    TimeSource,
    TimeStamp,
    Tunnel,
    Unit,
)

UNITS: Final = {"seconds": 1, "millis": 1e-3, "micros": 1e-6}
"""Of the accuracy of a time-stamp, as OpenSSL prints it."""

type Answers = Mapping[str, Any]

NO_REFERENCE: Final = 16
"""The stratum of a clock that follows nothing."""

WRONG: Final = "x~"
"""How chronyd marks a source that contradicts the others, or that varies too much."""


class Unanswered(Exception):  # noqa: N818 - an answer, not an error
    """A question has no answer: why not."""


def told(host: Host, answers: Answers) -> tuple[Host, dict[str, str]]:
    """The machine with what it answered, and of each fact that stays UNKNOWN, why."""
    found: dict[str, Any] = {}
    gaps: dict[str, str] = {}
    for name, parse in PARSERS.items():
        try:
            found[name] = parse(_Asked(answers))
        except Unanswered as reason:
            gaps[name] = str(reason)
        except (ValueError, LookupError, ValidationError) as error:
            gaps[name] = f"not understood: {type(error).__name__}: {error}"
    return host.model_copy(update=found), gaps


class _Asked:
    """Answers by name. Raises Unanswered for one that is none."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def _get(self, name: str) -> Any:
        answer = self._answers.get(name, {"error": "not asked"})
        if isinstance(answer, dict) and "error" in answer:
            raise Unanswered(answer["error"])
        return answer

    def text(self, name: str) -> str:
        """What a command printed."""
        return str(self._get(name))

    def files(self, name: str) -> dict[str, str]:
        """The files that are there, with their content."""
        return dict(self._get(name))


def _sshd(asked: _Asked) -> dict[str, tuple[str, ...]]:
    """What holds for everybody, and what a `Match` gives to somebody: sshd -T shows only the first."""
    values: dict[str, tuple[str, ...]] = {}
    matched = (line for text in asked.files("ssh-files").values() for line in _in_matches(text))
    for line in (*asked.text("sshd").splitlines(), *matched):
        option, _, value = line.strip().partition(" ")
        values[option.lower()] = (*values.get(option.lower(), ()), value.strip())
    return values


def _in_matches(text: str) -> Iterator[str]:
    """The lines inside the `Match` blocks of one file; a block ends with its file."""
    inside = False
    for line in filter(None, map(str.strip, text.splitlines())):
        if re.match(r"match\s", line, re.IGNORECASE):
            inside = True
        elif inside and not line.startswith("#"):
            yield re.sub(r"[\s=]+", " ", line, count=1)


def _chains(asked: _Asked) -> tuple[Chain, ...]:
    """Base chains alone: packets come to the others only from them."""
    listed = [one["chain"] for one in json.loads(asked.text("chains"))["nftables"] if "chain" in one]
    return tuple(Chain.model_validate(one) for one in listed if "hook" in one)


def _units(asked: _Asked) -> dict[str, Unit]:
    blocks = [
        dict(line.split("=", 1) for line in one.splitlines()) for one in asked.text("units").strip().split("\n\n")
    ]
    return {
        one["Id"]: Unit(active=one["ActiveState"] == "active", enabled=one["UnitFileState"] == "enabled")
        for one in blocks
    }


def _superusers(asked: _Asked) -> tuple[str, ...]:
    accounts = [line.split(":") for line in asked.text("accounts").splitlines()]
    return tuple(name for name, _, number, *_ in accounts if number == "0")


def _root_locked(asked: _Asked) -> bool:
    return asked.text("root").split()[1] == "L"


def _root_keys(asked: _Asked) -> tuple[str, ...]:
    return tuple(name for name, text in asked.files("root-keys").items() if text.strip())


def _silent_sudo(asked: _Asked) -> tuple[str, ...]:
    told = re.compile(r"^\s*Defaults.*!\s*syslog\b", re.MULTILINE)
    return tuple(name for name, text in asked.files("sudoers").items() if told.search(text))


def _confined(asked: _Asked) -> bool:
    return [text.strip() for text in asked.files("apparmor").values()] == ["Y"]


def _complaining(asked: _Asked) -> tuple[str, ...]:
    lines = [line for text in asked.files("profiles").values() for line in text.splitlines()]
    return tuple(line.removesuffix(" (complain)") for line in lines if line.endswith("(complain)"))


def _apt(asked: _Asked) -> dict[str, str]:
    return dict(re.findall(r'^(\S+) "(.*)";$', asked.text("apt"), re.MULTILINE))


def _packages(asked: _Asked) -> tuple[str, ...]:
    pairs = [line.split(":", 1) for line in asked.text("packages").splitlines()]
    return tuple(name for status, name in pairs if status == "installed")


def _listening(asked: _Asked) -> tuple[str, ...]:
    found = set()
    for line in asked.text("listening").splitlines():
        protocol, _, _, _, local, *_ = line.split()
        address, _, port = local.rpartition(":")
        if not re.match(r"127\.|\[::1\]", address):
            found.add(f"{protocol}/{port}")
    return tuple(sorted(found))


def _kernel(asked: _Asked) -> dict[str, int]:
    texts = asked.files("kernel")
    numbers = {path: text.strip() for path, text in texts.items() if re.fullmatch(r"-?\d+", text.strip())}
    return {path.removeprefix("/proc/sys/").replace("/", "."): int(text) for path, text in numbers.items()}


def _clock(asked: _Asked) -> Clock:
    (tracking,) = csv.reader([asked.text("tracking").strip()])
    sources = tuple(
        TimeSource(
            name=name,
            server=mode == "^",
            # Not only those that chronyd combines: a time server that keeps its own time selects none.
            answers=state not in WRONG and int(reach, 8) > 0 and 0 < int(stratum) < NO_REFERENCE,
            offset_ms=abs(float(offset)) * 1000,
        )
        for mode, state, name, stratum, _, reach, _, offset, *_ in csv.reader(asked.text("sources").splitlines())
    )
    return Clock(
        sources=sources,
        synchronised=0 < int(tracking[2]) < NO_REFERENCE and tracking[13] == "Normal",
        offset_ms=abs(float(tracking[4])) * 1000,
        steers=" -x" not in asked.text("chronyd"),
    )


def _log_targets(asked: _Asked) -> tuple[LogTarget, ...]:
    """The actions of rsyslogd that speak RELP."""
    text = "\n".join(asked.files("log-sender").values())
    actions = (
        dict(re.findall(r'([\w.]+)="([^"]*)"', one)) for one in re.findall(r"^action\((.*?)^\)", text, re.M | re.S)
    )
    return tuple(
        LogTarget(
            address=one["target"],
            tls=one.get("tls") == "on" and one.get("tls.authMode") == "name",
            queue_on_disk=one.get("queue.type") == "Disk" and "queue.maxDiskSpace" in one,
        )
        for one in actions
        if one["type"] == "omrelp"
    )


def _log_store(asked: _Asked) -> LogStore | None:
    text = asked.text("log-store")
    return LogStore.model_validate_json(text) if text else None


def _hsm(asked: _Asked) -> Hsm | None:
    answer = json.loads(asked.text("hsm") or '{"error": "no HSM here"}')
    return None if "error" in answer else Hsm(manufacturer=answer["device"]["manufacturer"])


def _time_stamp(asked: _Asked) -> TimeStamp | None:
    text = asked.text("time-stamp")
    if not text:
        return None
    said = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    if said["Verification"] != "OK":
        return TimeStamp(taken=False)
    at = _moment(said["Time stamp"])
    off = max(float(said["Before"]) - at, at - float(said["After"]), 0)
    return TimeStamp(taken=True, accuracy_s=_accuracy(said["Accuracy"]), off_s=off)


def _moment(text: str) -> float:
    """Seconds since the epoch; OpenSSL prints no fraction that is 0."""
    pattern = "%b %d %H:%M:%S.%f %Y GMT" if "." in text else "%b %d %H:%M:%S %Y GMT"
    return datetime.strptime(text, pattern).replace(tzinfo=UTC).timestamp()


def _accuracy(text: str) -> float | None:
    """Seconds; of several parts one that is not stated is 0 (RFC 3161, 2.4.2)."""
    stated = re.findall(r"(0x[0-9A-F]+) (\w+)", text)
    return sum(int(number, 16) * UNITS[unit] for number, unit in stated) if stated else None


def _tunnels(asked: _Asked) -> tuple[Tunnel, ...]:
    """Children of IKE_SAs: they alone carry packets, and only once they are installed."""
    installed = re.findall(r"^  (\S+): #\d+, .*INSTALLED, .*ESP:(\S+)$", asked.text("tunnels"), re.MULTILINE)
    return tuple(Tunnel(name=name, cipher=cipher) for name, cipher in installed)


def _replication(asked: _Asked) -> Replication | None:
    """The kernel's shortest round trip, as the last ones tell of what is queued, too."""
    paths = re.findall(r"^\d+\s+\d+\s+\S+\s+(\S+):\d+\s.*\bminrtt:([\d.]+)", asked.text("paths"), re.MULTILINE)
    shortest = {address: float(rtt) for address, rtt in paths}
    text = asked.text("database")
    if not text:
        return None
    said = json.loads(text)
    confirms = {one: shortest.get(one) for one in said["confirms"]}
    return Replication(writes=said["writes"], lag_s=said["lag"], confirms=confirms)


def _following(asked: _Asked) -> Following | None:
    """What was told some seconds ago is as much older by now."""
    text = asked.text("object-sync")
    if not text:
        return None
    said = json.loads(text)
    lag = None if said["lag"] is None else said["lag"] + max(0.0, said["asked"] - said["at"])
    return Following(holder=said["holder"], lag_s=lag)


def _backups(asked: _Asked) -> dict[str, float]:
    """A copy that never was has ended in 1970."""
    text = asked.text("backups")
    if not text:
        return {}
    said = json.loads(text)
    taken = re.findall(r'^qhs_backup_taken_seconds\{at="([^"]+)"\} (\d+)$', said["told"], re.MULTILINE)
    return {site: (said["asked"] - int(at)) / 3600 for site, at in taken}


def _cluster(asked: _Asked) -> dict[str, dict[str, str]]:
    """Of an option that is given twice the last one holds; those of a node's agent and proxy are in files.

    The store is told by variables; what secrets are encrypted by stands as if it were an option of a program.
    """
    programs = [line.split() for line in asked.text("cluster").splitlines() if line]
    found = {
        path.rpartition("/")[2]: dict(re.findall(r"--([^= ]+)=(\S*)", " ".join(rest))) for _, path, *rest in programs
    }
    for path, text in asked.files("node-agent").items():
        if (program := path.rpartition("/")[2].removesuffix(".json")) in found:
            found[program] |= dict(_flat(json.loads(text)))
    if variables := re.findall(r"^ETCD_(\w+)=(.*)$", asked.text("etcd"), re.MULTILINE):
        found["etcd"] = {name.lower().replace("_", "-"): value for name, value in variables}
    if ciphers := re.findall(r'"([a-z]+)"', asked.text("encryption")):
        found["encryption"] = {"first": ciphers[0]}
    return found


def _flat(settings: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Each setting by its path, as YAML writes it."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value if isinstance(value, str) else json.dumps(value)


def _files(asked: _Asked) -> dict[str, str]:
    return asked.files("files")


def _audit(asked: _Asked) -> tuple[AuditRule, ...]:
    rules = [one for text in asked.files("audit-policy").values() for one in json.loads(text)["rules"]]
    return tuple(AuditRule.model_validate(one) for one in rules)


def _esp_in_kernel(asked: _Asked) -> bool | None:
    text = asked.text("charon")
    return "kernel-libipsec" not in text if "loaded plugins" in text else None


PARSERS: Final[Mapping[str, Callable[[_Asked], Any]]] = {
    "sshd": _sshd,
    "chains": _chains,
    "units": _units,
    "superusers": _superusers,
    "root_locked": _root_locked,
    "root_keys": _root_keys,
    "silent_sudo": _silent_sudo,
    "confined": _confined,
    "complaining": _complaining,
    "apt": _apt,
    "packages": _packages,
    "listening": _listening,
    "kernel": _kernel,
    "clock": _clock,
    "log_targets": _log_targets,
    "log_store": _log_store,
    "hsm": _hsm,
    "time_stamp": _time_stamp,
    "tunnels": _tunnels,
    "esp_in_kernel": _esp_in_kernel,
    "replication": _replication,
    "following": _following,
    "backups": _backups,
    "cluster": _cluster,
    "files": _files,
    "audit": _audit,
}
"""Every fact that a machine is asked for."""
