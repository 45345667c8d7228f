"""T-F07: a firewall's rules are replaced again and again, while streams are alive and what is denied knocks."""

from __future__ import annotations

import time
from ipaddress import ip_network
from pathlib import Path

from stacks.model.load import load
from stacks.model.rules import Rule, Ruleset, rulesets
from stacks.provider.ruleset.nft import render
from tests.kernel.place import Place
from tests.kernel.street import Leg, Pair, Street
from tests.twin.waiting import await_

STREAMS, BEAT = 200, 0.2
FLOW, OTHER, DENIED = "app-to-postgres", "app-to-objects", 9999
# Before and behind our chains, it sees what comes and what they let pass.
WITNESS = f"""
table inet witness {{
    counter came {{ }}
    counter passed {{ }}
    counter resets {{ }}
    chain before {{
        type filter hook prerouting priority -400;
        meta l4proto {{ tcp, udp }} th dport {DENIED} counter name came
        tcp flags rst counter name resets
    }}
    chain input {{
        type filter hook input priority 10;
        meta l4proto {{ tcp, udp }} th dport {DENIED} counter name passed
    }}
    chain forward {{
        type filter hook forward priority 10;
        meta l4proto {{ tcp, udp }} th dport {DENIED} counter name passed
    }}
}}
"""


def measured(folder: Path, reloads: int) -> dict[str, float]:
    """What so many reloads do: every second one takes a flow away, the others bring it back."""
    pair = next(one for one in rulesets(load("twin"), "qhdc") if one.kind == "pair")
    whole = render(pair.guards, pair.flows)
    less = render(pair.guards, {name: flow for name, flow in pair.flows.items() if name != OTHER})
    assert whole != less
    place = Place(folder, 30)
    app, data = _legs(pair)
    street = Street(place, {"app": app, "data": data})
    try:
        assert place.shell("nft", "-f", "-", text=WITNESS).returncode == 0
        place.keep(whole)
        (port,) = _rule(pair, "ip").ports
        server = street.talk("data", beat=BEAT, listen=[("tcp", address, int(port)) for address in data.end])
        streams = [("tcp", address, int(port), STREAMS // 2) for address in data.end]
        client = street.talk("app", beat=BEAT, connect=streams)
        street.talk("app", flood=[(address, DENIED) for address in (*data.end, *app.gate)])
        await_(lambda: place.witness()["came"] > 1000)
        seconds = [_timed(place, whole if number % 2 else less) for number in range(reloads)]
        seen, told = place.witness(), [street.told(one) for one in (client, server)]
    finally:
        street.end()
        place.end()
    return {
        "reloads": reloads,
        "rules": whole.count(" counter "),
        "streams alive": min(one["alive"] for one in told),
        "resets": seen["resets"] + sum(one["reset"] for one in told),
        "denied packets that came": seen["came"],
        "denied packets that passed": seen["passed"],
        "seconds of the slowest reload": max(seconds),
    }


def _timed(place: Place, text: str) -> float:
    began = time.monotonic()
    place.keep(text)
    return round(time.monotonic() - began, 2)


def _legs(pair: Ruleset) -> tuple[Leg, Leg]:
    """Where an application and a database stand, each with an address of the firewall beside it."""
    rules = [_rule(pair, family) for family in ("ip", "ip6")]
    ends = [ip_network(one.sources[0])[200] for one in rules], [ip_network(one.destinations[0])[0] for one in rules]
    app, data = (Leg(Pair(*(str(one + 1) for one in end)), Pair(*map(str, end))) for end in ends)
    return app, data


def _rule(pair: Ruleset, family: str) -> Rule:
    way = ("forward", family, "app", "data")
    return next(one for one in pair.flows[FLOW].rules if (one.chain, one.family, one.iif, one.oif) == way)
