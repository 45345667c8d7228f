"""One site at a time takes writes: one that is cut off stops before another may begin (S-040, C-DR-04)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from qhs.lease.choose import choose
from qhs.twin import inside, outage
from qhs.twin.names import Twin
from stacks.model.estate import LEASE
from stacks.model.lease import READ_ONLY_AFTER, SECONDS
from tests.pace import Pace
from tests.twin.conftest import MEASURED, Run, WatchedUp
from tests.twin.databases import (
    ESTATE,
    MEMBERS,
    OTHER,
    SITE,
    SQL,
    WRITTEN,
    connect,
    cut_off,
    database,
    first_copy,
    leader,
    told,
    where,
    writing,
)
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

AGAIN = 90
"""Seconds from a healed cut to the next write: for the tunnels, the lease and Patroni."""
GAP = 20
"""Seconds without a write when the other site is chosen; a clients' view of names comes on top."""
AGREE = {site: ESTATE.with_role(site, LEASE)[0].name for site in ESTATE.active_sites}
CHECK = "/usr/local/lib/qhs-database/qhs_database.py check"


@pytest.fixture(scope="module", autouse=True)
def standing(hosts: Hosts, second_up: WatchedUp) -> Iterator[None]:
    """Both members have the data, before and after."""
    yield
    await_(lambda: set(hosts.say(f"{CHECK} || true", MEMBERS[SITE]).values()) == {""}, 120)


def status(qhs: Run) -> tuple[int, dict[str, object]]:
    done = qhs("lease", "status", "--json")
    return done.returncode, json.loads(done.stdout)


def test_one_site_has_the_lease_and_all_members_say_so(qhs: Run) -> None:
    code, said = status(qhs)
    assert (code, said["active"], said["chosen"]) == (0, SITE, SITE)
    assert 0 < int(str(said["seconds"])) <= SECONDS
    assert f"{SITE} has the lease since" in qhs("lease", "status").stdout


def test_a_site_that_is_cut_off_takes_no_writes_before_another_may(twin: Twin, hosts: Hosts, qhs: Run) -> None:
    pace = Pace()
    with database(hosts, SITE) as password:
        inside.call(where(twin, SITE), lambda: connect(twin, SITE, password).execute(WRITTEN))
        with writing(twin, SITE, password) as acknowledged:
            await_(lambda: len(acknowledged) > 100)
            with cut_off(twin, SITE):
                began = time.monotonic()
                await_(lambda: status(qhs)[1]["active"] == "", SECONDS + 30)
                lost, last = time.monotonic() - began, acknowledged[-1] - began
                MEASURED.append(f"{SITE} cut off: last write after {last:.1f} s, the lease lost within {lost:.1f} s")
                assert status(qhs)[0] == 2
                assert last <= pace.limit(READ_ONLY_AFTER + 0.5)
                assert last < SECONDS, "by then another site may write"
                await_(lambda: set(told(hosts, MEMBERS[SITE], "select pg_is_in_recovery()").values()) == {"t"})
                said = hosts.say(f"{SQL} -c 'create table nobody ()' 2>&1 || true", MEMBERS[SITE])
                assert all("read-only transaction" in one for one in said.values()), said
            healed = time.monotonic()
            await_(lambda: acknowledged[-1] > healed, AGAIN)
            MEASURED.append(f"{SITE} joined again: writes after {acknowledged[-1] - healed:.1f} s at most")
        kept = told(hosts, MEMBERS[SITE], "select count(*) from written", "probe")
        assert all(int(said) >= len(acknowledged) for said in kept.values())
    await_(lambda: status(qhs)[0] == 0)


def test_the_other_site_is_chosen_and_nothing_is_lost(twin: Twin, hosts: Hosts, qhs: Run) -> None:
    """And back: each site's copy goes on from where the log of the other ended."""
    pace = Pace()
    with database(hosts, SITE) as password:
        inside.call(where(twin, SITE), lambda: connect(twin, SITE, password).execute(WRITTEN))
        for here, there in ((SITE, OTHER), (OTHER, SITE)):
            with writing(twin, here, password) as first, writing(twin, there, password) as second:
                await_(lambda first=first: len(first) > 50, 60)
                choose(twin, ESTATE, there, here)
                await_(lambda second=second: len(second) > 50, 90)
            pause = second[0] - first[-1]
            MEASURED.append(f"{there} instead of {here}: no write for {pause:.1f} s")
            assert pause > 0, "never two"
            assert pause <= pace.limit(GAP)
            await_(lambda here=here, there=there: first_copy(hosts, here, there) != "", AGAIN)
            kept = told(hosts, [leader(hosts, there)], "select count(*) from written", "probe")
            assert int(next(iter(kept.values()))) >= len(first) + len(second)
    await_(lambda: status(qhs)[1]["active"] == SITE)


def test_of_two_sites_that_do_not_reach_each_other_one_takes_writes_at_a_time(
    twin: Twin, hosts: Hosts, qhs: Run
) -> None:
    """Nor does anything reach the power of the one that is cut off: it has stopped by itself (T-B06, T-B07)."""
    with database(hosts, SITE) as password:
        inside.call(where(twin, SITE), lambda: connect(twin, SITE, password).execute(WRITTEN))
        with writing(twin, SITE, password) as first, writing(twin, OTHER, password) as second:
            await_(lambda: len(first) > 50, 60)
            with cut_off(twin, SITE):
                choose(twin, ESTATE, OTHER, SITE)
                await_(lambda: len(second) > 50, 90)
                assert second[0] > first[-1], "never two"
                MEASURED.append(f"{SITE} cut off, {OTHER} chosen: no write for {second[0] - first[-1]:.1f} s")
            before = len(first)
            await_(lambda: first_copy(hosts, SITE, OTHER) != "", AGAIN)
            assert len(first) == before, "it came back as a copy"
        choose(twin, ESTATE, SITE, OTHER)
        await_(lambda: status(qhs)[1]["active"] == SITE, 90)
        await_(lambda: first_copy(hosts, OTHER, SITE) != "", AGAIN)


def test_the_machine_of_the_lease_may_be_gone(twin: Twin, hosts: Hosts, qhs: Run) -> None:
    """The database renews at another site."""
    outage.power_off(twin, AGREE[OTHER])
    try:
        await_(lambda: status(qhs)[0] == 3)
        assert status(qhs)[1]["active"] == SITE
        time.sleep(SECONDS)
        assert status(qhs)[1]["active"] == SITE
    finally:
        outage.power_on(twin, AGREE[OTHER])
    await_(lambda: status(qhs)[0] == 0, 120)
