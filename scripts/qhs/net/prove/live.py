"""The proof of what stands: the rules that the kernels of a running twin show, and which of its machines forward."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple

from qhs.net.prove import Facts, Proof, facts, prove
from qhs.twin import access, inside
from qhs.twin.names import Twin
from stacks.model import Estate

# All tables, not ours alone: a drop in another one decides as well. Times are compared as UTC.
_ASK = (
    "/usr/sbin/sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding; "
    "systemctl show --property=UserspaceTimestamp --timestamp=unix; sudo TZ=UTC nft -j list ruleset"
)


def prove_live(estate: Estate, twin: Twin, now: datetime) -> Proof:
    """Decide every cell of a running twin; a machine that does not answer makes the proof incomplete."""
    return prove(*found(estate, twin), now)


def found(estate: Estate, twin: Twin) -> tuple[Facts, dict[str, Any]]:
    """The facts of a running twin, and the listing of each machine that answers."""
    told = answers(estate, twin)
    forwarding = [name for name, answer in told.items() if answer.forwards]
    return facts(estate, forwards=forwarding), {name: answer.listing for name, answer in told.items()}


class Answer(NamedTuple):
    """What a machine says of itself."""

    forwards: bool
    booted: datetime
    """Since then its rules count: a ruleset that replaces another keeps what this one has counted."""
    listing: Any


def answers(estate: Estate, twin: Twin) -> dict[str, Answer]:
    """The answers of all machines of a running twin that do answer."""
    with ThreadPoolExecutor(8) as pool:
        found = zip(estate.machines, pool.map(lambda name: _ask(twin, name), estate.machines), strict=True)
        return {name: answer for name, answer in found if answer is not None}


def _ask(twin: Twin, machine: str) -> Answer | None:
    done = inside.run(twin, ["ssh", "-F", str(access.config(twin)), "-o", "ConnectTimeout=5", machine, "--", _ASK])
    if done.returncode != 0:
        return None
    ipv4, ipv6, booted, listing = done.stdout.split("\n", 3)
    seconds = int(booted.removeprefix("UserspaceTimestamp=@"))
    return Answer("1" in (ipv4, ipv6), datetime.fromtimestamp(seconds, UTC), json.loads(listing))
