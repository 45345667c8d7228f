"""The proof of what stands: the rules that the kernels of a running twin show, and which of its machines forward."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from qhs.net.prove import Proof, facts, prove
from qhs.twin import access, inside
from qhs.twin.names import Twin
from stacks.model import Estate

# All tables, not ours alone: a drop in another one decides as well. Times are compared as UTC.
_ASK = "/usr/sbin/sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding; sudo TZ=UTC nft -j list ruleset"


def prove_live(estate: Estate, twin: Twin, now: datetime) -> Proof:
    """Decide every cell of a running twin; a machine that does not answer makes the proof incomplete."""
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(estate.machines, pool.map(lambda name: _ask(twin, name), estate.machines), strict=True))
    listings = {name: answer[1] for name, answer in answers.items() if answer is not None}
    return prove(facts(estate, forwards=_forwarding(answers.items())), listings, now)


def _ask(twin: Twin, machine: str) -> tuple[bool, Any] | None:
    done = inside.run(twin, ["ssh", "-F", str(access.config(twin)), "-o", "ConnectTimeout=5", machine, "--", _ASK])
    if done.returncode != 0:
        return None
    ipv4, ipv6, listing = done.stdout.split("\n", 2)
    return "1" in (ipv4, ipv6), json.loads(listing)


def _forwarding(answers: Iterable[tuple[str, tuple[bool, Any] | None]]) -> tuple[str, ...]:
    return tuple(name for name, answer in answers if answer is not None and answer[0])
