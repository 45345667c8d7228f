"""T-F11: from the second of its expiry nothing of a flow passes, its established sessions included, and nobody runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stacks.model.load import load
from stacks.model.rules import Rule, rulesets
from stacks.provider.ruleset.nft import Flow, render
from tests.kernel.place import Place
from tests.kernel.street import Leg, Pair, Street
from tests.twin.waiting import await_

GUARDS = next(one for one in rulesets(load("twin"), "qhdc") if one.kind == "pair").guards
LEFT = Leg(Pair("10.1.0.1", "fd01::1"), Pair("10.1.0.2", "fd01::2"))
RIGHT = Leg(Pair("10.2.0.1", "fd02::1"), Pair("10.2.0.2", "fd02::2"))
# Through the place, into it and out of it: a TCP and a UDP port each that end, and a TCP port that stays.
WAYS = {"forward": ("left", "right", 0), "input": ("left", "", 1), "output": ("", "right", 2)}
ENDS = {"tcp": 440, "udp": 50}
STAYS = {"tcp": 80}
# Behind our chains, it sees what they let pass.
WITNESS = """
table inet witness {{
    counter before_original {{ }}
    counter before_reply {{ }}
    counter after_original {{ }}
    counter after_reply {{ }}
    counter stays_original {{ }}
    counter stays_reply {{ }}
    {chains}
}}
"""
CHAIN = """chain {hook} {{
    type filter hook {hook} priority 10;
    meta l4proto {{ tcp, udp }} th dport {{ 50-52, 440-442 }} meta time < {then} counter name before_original
    meta l4proto {{ tcp, udp }} th sport {{ 50-52, 440-442 }} meta time < {then} counter name before_reply
    meta l4proto {{ tcp, udp }} th dport {{ 50-52, 440-442 }} meta time >= {then} counter name after_original
    meta l4proto {{ tcp, udp }} th sport {{ 50-52, 440-442 }} meta time >= {then} counter name after_reply
    tcp dport 80-82 meta time >= {then} counter name stays_original
    tcp sport 80-82 meta time >= {then} counter name stays_reply
}}
"""


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    place = Place(tmp_path, 30)
    here = Street(place, {"left": LEFT, "right": RIGHT})
    yield here
    here.end()
    place.end()


def flow(ports: dict[str, int], expires: datetime | None) -> Flow:
    return Flow(
        tuple(
            Rule(
                chain, iif=iif, oif=oif, family=family, sources=sources, protocol=protocol, ports=(str(port + offset),)
            )
            for chain, (iif, oif, offset) in WAYS.items()
            for family, sources in (("ip", ("10.0.0.0/8",)), ("ip6", ("fd00::/8",)))
            for protocol, port in ports.items()
        ),
        expires,
    )


def whom(chain: str) -> Pair:
    """Who is spoken to on one of the ways."""
    return LEFT.gate if chain == "input" else RIGHT.end


def talk(street: Street) -> None:
    """On all ways at once, in both families."""
    talks = [
        (chain, protocol, address, port + WAYS[chain][2])
        for chain in WAYS
        for ports in (ENDS, STAYS)
        for protocol, port in ports.items()
        for address in whom(chain)
    ]
    heard = {end: [t[1:] for t in talks if (t[0] == "input") == (end == "")] for end in ("", "right")}
    said = {end: [(*t[1:], 1) for t in talks if (t[0] == "output") == (end == "")] for end in ("left", "")}
    for end, own in heard.items():
        street.talk(end, listen=own)
    for end, own in said.items():
        street.talk(end, connect=own)


def test_what_is_established_is_blocked_at_the_second_of_its_expiry_too(street: Street) -> None:
    place = street.place
    lasting = flow(STAYS, None)
    place.keep(render(GUARDS, {"brief": flow(ENDS, None), "lasting": lasting}))
    talk(street)  # when they began to, nobody had thought of an expiry
    then = int(time.time()) + 4
    witness = WITNESS.format(chains="\n".join(CHAIN.format(hook=hook, then=then) for hook in WAYS))
    assert place.shell("nft", "-f", "-", text=witness).returncode == 0
    place.keep(render(GUARDS, {"brief": flow(ENDS, datetime.fromtimestamp(then, UTC)), "lasting": lasting}))
    before = place.names()
    await_(lambda: place.witness()["stays_reply"] > 200)
    seen, cut = place.witness(), place.counters()
    assert seen["after_original"] == seen["after_reply"] == 0, seen
    assert min(seen["before_original"], seen["before_reply"]) > 50, seen
    assert min(seen["stays_original"], seen["stays_reply"]) > 100, seen
    assert cut["expired:brief"] > 50, cut
    assert place.names() == before
