"""Machines lose their power: people are told, a site lives without its infrastructure, and has it back by itself.

All at once, as most of it is waiting, and other suites run meanwhile (`beside`): who is told of at qhdc, the store
of the other site, and what ndc's names, time and certificates come from.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from qhs.inventory import inventory, records
from qhs.twin import outage
from qhs.twin.names import Twin
from stacks.model import load
from tests.twin.clocks import following
from tests.twin.conftest import WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.metrics_store import firing
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
VARIABLES: dict[str, dict[str, Any]] = inventory(ESTATE)["_meta"]["hostvars"]
MACHINE, OTHER_STORE, INFRA = GONE = ("qhdc-edge1", "ndc-soc1", "ndc-infra1")
STORE, NEIGHBOUR, OTHER = "qhdc-soc1", "ndc-app1", "ndc-db1"
"""Who tells of it, and machines of the site without its infrastructure."""
ALERTS = {("MachineDown", MACHINE), ("StoreDown", OTHER_STORE)}
TOLD = 270
"""Seconds from the loss of a machine to the line in the journal: two rounds, a judgement, and what is gathered into one
message. What the rules state of themselves (`for`) is within it."""
JOURNAL = "journalctl --no-pager --output=cat --identifier=qhs-alerts"


@pytest.fixture(scope="module")
def gone(twin: Twin, second_up: WatchedUp, beside: None) -> Iterator[int]:
    """Since when; seconds since the epoch."""
    since = int(time.time()) - 1
    each(partial(outage.power_off, twin))
    yield since
    each(partial(outage.power_on, twin))


@pytest.fixture(scope="module")
def back(twin: Twin, gone: int) -> int:
    """As `gone`; they have power again."""
    each(partial(outage.power_on, twin))
    return gone


def each(act: partial[None]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(act, GONE))


def told(hosts: Hosts, since: int, state: str) -> bool:
    said = hosts.say(f"{JOURNAL} --since=@{since}", [STORE])[STORE]
    return all(f"{state} {alert} {machine} critical: " in said for alert, machine in ALERTS)


def test_a_site_lives_without_its_infrastructure(hosts: Hosts, gone: int) -> None:
    """Names and time come from other sites."""
    names = {one: f"getent ahostsv4 {one}.{ESTATE.inventory.domain}" for one in (NEIGHBOUR, "qhdc-db1")}
    said = hosts.say("; ".join(f"timeout 5 {one}" for one in names.values()), [OTHER])[OTHER]
    assert {line.split()[0] for line in said.splitlines()} == {records(ESTATE)[one][0] for one in names}
    await_(lambda: INFRA not in following(hosts, OTHER), 200)
    assert following(hosts, OTHER) - {OTHER}


def test_a_machine_and_a_store_that_are_gone_are_told_of(hosts: Hosts, gone: int) -> None:
    await_(lambda: told(hosts, gone, "firing"), TOLD)
    assert firing(hosts, STORE) >= ALERTS
    assert MACHINE in hosts.say("amtool alert query alertname=MachineDown", [STORE])[STORE]


def test_the_site_has_its_infrastructure_back(hosts: Hosts, back: int) -> None:
    hosts.say("systemctl is-system-running --wait", [INFRA])
    known = hosts.say(
        f"kdig @{VARIABLES[INFRA]['dns_resolver'][0]} +short {NEIGHBOUR}.{ESTATE.inventory.domain}", [OTHER]
    )
    assert known[OTHER].split() == [records(ESTATE)[NEIGHBOUR][0]]
    hosts.say("qhs-pki renew --now", [OTHER])
    await_(lambda: INFRA in following(hosts, OTHER), 200)


def test_they_are_told_of_until_they_are_back(hosts: Hosts, back: int) -> None:
    await_(lambda: told(hosts, back, "resolved"), TOLD)
