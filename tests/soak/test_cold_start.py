"""T-B12: a centre that had no power at all begins, and serves, while nothing of the other one answers (C-DR-09)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from qhs.lease.choose import choose
from qhs.twin import outage
from qhs.twin.names import Twin
from tests.twin.conftest import Run, WatchedUp
from tests.twin.databases import ESTATE, SITES, active, address
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

HOME, AWAY = SITES
AGREED = 60
"""Seconds until the lease is the other site's."""
SERVES = 900
"""Seconds for a whole centre, from its first machine on."""
CLOCKS = "chronyc -c tracking | awk -F, '{print $NF}'"


@pytest.fixture
def alone(qhs: Run, twin: Twin, second_up: WatchedUp) -> Iterator[None]:
    """The other centre is to take writes, and the one where they belong is gone, with all that it has."""
    outage.power_off(twin, HOME)
    try:
        choose(twin, ESTATE, AWAY, HOME)
        await_(lambda: active(qhs) == AWAY, AGREED)
        yield
    finally:
        outage.power_on(twin, HOME)
        await_(lambda: qhs("drill", "failback").returncode == 0, SERVES)


def wrong(qhs: Run) -> list[dict[str, object]]:
    """What the applications there have not, as their own canaries find it: secrets, databases, buckets, signatures."""
    checks = [one for one in json.loads(qhs("cloud", "status", "--json").stdout)["checks"] if one["site"] == AWAY]
    assert checks
    return [one for one in checks if not one["as_wanted"]]


def test_a_centre_begins_from_nothing_and_serves_while_the_other_is_gone(
    qhs: Run, hosts: Hosts, twin: Twin, alone: None, figures: dict[str, float]
) -> None:
    outage.power_off(twin, AWAY)
    began = time.monotonic()
    machines = outage.power_on(twin, AWAY)

    def since(what: str) -> None:
        figures[f"seconds until {what}"] = round(time.monotonic() - began)

    since("its machines answer")
    await_(lambda: active(qhs) == AWAY, SERVES)
    since("it has the lease")
    await_(lambda: wrong(qhs) == [], SERVES)
    since("its applications have all that they need")
    name = f"getent ahostsv4 postgres.svc.{ESTATE.inventory.domain} | awk 'NR == 1 {{print $1}}'"
    assert set(hosts.say(name, [f"{AWAY}-app1"]).values()) == {address(AWAY)}
    assert set(hosts.say(CLOCKS, machines).values()) == {"Normal"}
    figures["machines"] = len(machines)
