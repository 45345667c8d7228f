"""The databases of a centre: two members with the same data, one takes writes and has the address (C-DR-04)."""

from __future__ import annotations

import itertools
import json
import secrets
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from qhs.twin import inside, outage
from qhs.twin.names import Twin
from stacks.model.estate import QUORUM
from tests.pace import Pace
from tests.twin.conftest import MEASURED, WatchedUp
from tests.twin.databases import (
    ESTATE,
    MEMBERS,
    OTHER,
    SITE,
    SITES,
    address,
    connect,
    database,
    first_copy,
    leader,
    told,
    where,
)
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

CHECK = "/usr/local/lib/qhs-database/qhs_database.py check"
AGREES = "/usr/local/lib/qhs-etcd/qhs_etcd.py check etcd"
RATE = 200
"""Writes a second."""
WRITES_AGAIN = 30
"""Seconds from the loss of the leader to the next write that it acknowledges."""


@pytest.fixture(scope="module", autouse=True)
def standing(hosts: Hosts, second_up: WatchedUp) -> Iterator[None]:
    """All members of both centres have the data, before and after."""
    await_(lambda: whole(hosts))
    yield
    await_(lambda: whole(hosts), 120)


def whole(hosts: Hosts) -> bool:
    members = [name for site in SITES for name in MEMBERS[site]]
    return set(hosts.say(f"{CHECK} || true", members).values()) == {""}


def copies(hosts: Hosts, member: str) -> set[str]:
    """Whom a member gives the log to, and which of them it waits for."""
    return set(told(hosts, [member], "select application_name, sync_state from pg_stat_replication")[member].split())


def test_one_member_takes_writes_and_all_others_have_them(hosts: Hosts) -> None:
    first, there = leader(hosts, SITE), first_copy(hosts, OTHER, SITE)
    (second,) = set(MEMBERS[SITE]) - {first}
    (last,) = set(MEMBERS[OTHER]) - {there}
    assert copies(hosts, first) == {f"{second}|sync", f"{there}|async"}
    assert copies(hosts, there) == {f"{last}|async"}
    slots = told(hosts, [first], "select active from pg_replication_slots where slot_name = 'site_ndc'")
    assert slots[first] == "t", "the log is kept for the other site while that is away"


@pytest.mark.parametrize("site", SITES)
def test_three_agree_and_the_first_one_has_the_address(hosts: Hosts, site: str) -> None:
    first = leader(hosts, SITE) if site == SITE else first_copy(hosts, OTHER, SITE)
    agree = [one.name for one in ESTATE.with_role(site, QUORUM)]
    assert hosts.say(AGREES, agree) == dict.fromkeys(agree, "")
    held = json.loads(hosts.say("ip -json address", [first])[first])
    assert address(site) in {one["local"] for port in held for one in port["addr_info"]}


def test_an_application_comes_in_by_tls_and_its_own_password_alone(twin: Twin, hosts: Hosts) -> None:
    def refused(**given: str) -> str:
        with pytest.raises(psycopg.OperationalError) as found:
            inside.call(where(twin, "qhdc"), lambda: connect(twin, "qhdc", **({"password": password} | given)).close())
        return str(found.value)

    with database(hosts, "qhdc") as password:
        assert inside.call(
            where(twin, "qhdc"), lambda: connect(twin, "qhdc", password).execute("select 1").fetchone()
        ) == (1,)
        assert "SSL required" in refused(sslmode="disable")
        assert "authentication failed" in refused(password=secrets.token_urlsafe(24))
        assert "no such user" in refused(user="postgres", dbname="postgres")
        kept = told(hosts, MEMBERS["qhdc"], "select rolpassword from pg_authid where rolname = 'probe'")
        assert all(said.startswith("SCRAM-SHA-256$") for said in kept.values())


def test_a_leader_that_dies_under_writes_loses_none_that_it_acknowledged(twin: Twin, hosts: Hosts) -> None:
    acknowledged: list[tuple[float, int]] = []
    over = threading.Event()

    def write(password: str) -> None:
        numbers, began = itertools.count(), time.monotonic()
        while not over.is_set():
            try:
                with connect(twin, "qhdc", password) as connection:
                    for number in numbers:
                        if over.wait(max(0, began + number / RATE - time.monotonic())):
                            return
                        connection.execute("insert into written values (%s)", (number,))
                        acknowledged.append((time.monotonic(), number))
            except psycopg.Error:
                began = time.monotonic() - next(numbers) / RATE

    def after(count: int) -> None:
        wanted = len(acknowledged) + count
        await_(lambda: len(acknowledged) >= wanted, 60)

    pace = Pace()
    with database(hosts, "qhdc") as password:
        inside.call(
            where(twin, "qhdc"), lambda: connect(twin, "qhdc", password).execute("create table written (number int)")
        )
        writer = threading.Thread(target=lambda: inside.call(where(twin, "qhdc"), lambda: write(password)))
        writer.start()
        try:
            after(5 * RATE)
            gone = leader(hosts, "qhdc")
            before = len(acknowledged)
            outage.power_off(twin, gone)
            after(2 * RATE)
        finally:
            over.set()
            writer.join()
        outage.power_on(twin, gone)
        await_(lambda: whole(hosts), 120)
        there = told(hosts, MEMBERS["qhdc"], "select number from written", "probe")
    moments = [moment for moment, _ in acknowledged]
    rate = before / (moments[before - 1] - moments[0])
    pause = max(later - one for one, later in itertools.pairwise(moments))
    MEASURED.append(f"{gone} off under {rate:.0f} writes a second: pause {pause:.1f} s")
    for member, said in there.items():
        lost = {number for _, number in acknowledged} - set(map(int, said.split()))
        assert not lost, member
    slowness = pace.limit(1)
    assert pause <= WRITES_AGAIN * slowness
    assert rate >= 0.9 * RATE / slowness


def test_a_member_without_data_begins_nothing_where_what_they_agreed_on_is_lost(hosts: Hosts) -> None:
    """Patroni of the one that has the data has it be known again."""
    first = leader(hosts, "qhdc")
    (other,) = [name for name in MEMBERS["qhdc"] if name != first]
    hosts.say("systemctl stop qhs-database", [other])
    hosts.say("systemctl stop qhs-database", [first])
    agree = [one.name for one in ESTATE.with_role("qhdc", QUORUM)]
    hosts.say("systemctl stop qhs-etcd; /usr/local/lib/qhs-etcd/qhs_etcd.py begin etcd", agree)
    hosts.say("systemctl start qhs-etcd", agree)
    hosts.say("rm -rf /var/lib/qhs-database/main; systemctl start qhs-database", [other])
    await_(lambda: "waiting for leader" in hosts.say("journalctl -qu qhs-database --since=-5s", [other])[other])
    assert hosts.say("ls -A /var/lib/qhs-database", [other])[other] == ""
    hosts.say("systemctl start qhs-database", [first])
    await_(lambda: whole(hosts), 90)
    assert leader(hosts, "qhdc") == first


def test_a_member_that_lost_its_disk_has_the_data_again(hosts: Hosts) -> None:
    """Its data, and what it had agreed to: others put it in anew."""
    first = leader(hosts, "qhdc")
    (other,) = [name for name in MEMBERS["qhdc"] if name != first]
    services = "qhs-database.service qhs-etcd.service"
    hosts.say(f"systemctl stop {services} && rm -rf /var/lib/qhs-database/main /var/lib/qhs-etcd/member", [other])
    hosts.say(f"systemctl start --no-block {services}", [other])
    await_(lambda: whole(hosts) and hosts.say(f"{AGREES} || true", [other])[other] == "", 90)
