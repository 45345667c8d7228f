"""The members of a firewall pair: who holds its gateways, and what streams take no harm of."""

from __future__ import annotations

import time

from qhs.twin import outage
from qhs.twin.names import Twin
from tests.pace import Pace
from tests.twin.conftest import MEASURED
from tests.twin.hosts import Hosts
from tests.twin.streams import Streams
from tests.twin.waiting import await_

# Nothing, before keepalived has started.
STATE = "cat /run/qhs-gateways 2>/dev/null || true"
SETTLED = [["backup", "primary"], ["primary", "backup"]]


def holder(hosts: Hosts, pair: tuple[str, ...]) -> tuple[str, str]:
    """Who of the pair holds the gateways, and the other one."""
    await_(lambda: list(hosts.say(STATE, pair).values()) in SETTLED)
    said = hosts.say(STATE, pair)
    first, second = sorted(said, key=lambda name: said[name] != "primary")
    return first, second


def cut_off(twin: Twin, streams: Streams, member: str, longest: float, what: str) -> None:
    """Power off the member that holds the gateways; no stream may end, or wait for longer than these seconds."""
    pace, count = Pace(), streams.count
    with streams.longest_pause() as pause:
        outage.power_off(twin, member)
        off = time.monotonic()
        await_(lambda: streams.broken != [] or streams.all_heard_since(off))
    MEASURED.append(f"{member} off under {count} streams {what}: {len(streams.broken)} ended, pause {pause[0]:.2f} s")
    assert streams.broken == []
    assert pause[0] <= pace.limit(longest)
