"""Databases of two sites, genuine servers and Patronis: those of one are copies of the other's (S-040, C-DR-04)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stacks.model.lease import READ_ONLY_AFTER, SECONDS
from tests.kernel.clusters import Member, Wires, wired
from tests.kernel.database_hosts import AGAIN, SITE, WRITE, Host, Writer, hosted, told
from tests.kernel.leases import ADDRESSES, HOLDERS, choose, leased
from tests.twin.waiting import await_

FIRST, SECOND = HOLDERS
BIN, DATA = "/usr/lib/postgresql/17/bin", "/var/lib/qhs-database/main"


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with wired(ADDRESSES) as found:
        yield found


@pytest.fixture(scope="module")
def members(own: Path, wires: Wires, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Member]]:
    with leased(own, wires, tmp_path_factory.mktemp("members"), SECONDS) as found:
        yield found


@pytest.fixture(scope="module")
def hosts(
    own: Path, wires: Wires, members: dict[str, Member], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Host]]:
    """By site: the second one began as a copy of the first."""
    folder = tmp_path_factory.mktemp("hosts")
    with ExitStack() as stack:
        found = {}
        for name, site in HOLDERS.items():
            found[site] = stack.enter_context(hosted(name, own, wires, folder, begins=name == FIRST))
        told(found["qhdc"].root, "create table written (number serial primary key)")
        yield found


@pytest.fixture
def roots(hosts: dict[str, Host]) -> dict[str, Path]:
    return {site: host.root for site, host in hosts.items()}


def rows(root: Path) -> str:
    return told(root, "select count(*), max(number) from written")


def await_same(roots: dict[str, Path]) -> None:
    await_(lambda: rows(roots["qhdc"]) == rows(roots["ndc"]), AGAIN)


def follows(root: Path, whom: str) -> bool:
    """Whether it is a copy that gets the log of a site now."""
    said = told(root, "select status, sender_host from pg_stat_wal_receiver")
    return said == f"streaming|{ADDRESSES[FIRST if whom == 'qhdc' else SECOND]}"


def test_the_second_site_is_a_copy_and_takes_no_writes(roots: dict[str, Path]) -> None:
    told(roots["qhdc"], WRITE)
    await_same(roots)
    await_(lambda: follows(roots["ndc"], "qhdc"), AGAIN)
    assert "read-only transaction" in told(roots["ndc"], WRITE)


def test_another_site_is_chosen_and_no_row_is_lost(roots: dict[str, Path], members: dict[str, Member]) -> None:
    for here, there in (("qhdc", "ndc"), ("ndc", "qhdc")):
        with Writer(roots[here]) as first, Writer(roots[there]) as second:
            first.goes_on()
            began = time.monotonic()
            choose(members["hall-infra1"], there, here)
            second.goes_on()
            gap = second.acknowledged[0] - first.acknowledged[-1]
            last = first.acknowledged[-1] - began
            print(f"{here} to {there}: last write {last:.1f} s after it was chosen, the next {gap:.1f} s later")
            assert gap > 0, "never two"
            written = len(first.acknowledged) + len(second.acknowledged)
        assert int(rows(roots[there]).split("|")[0]) >= written
        await_(lambda here=here, there=there: follows(roots[here], there), AGAIN)
        await_same(roots)


def test_a_site_that_was_lost_comes_back_as_a_copy(
    roots: dict[str, Path], members: dict[str, Member], wires: Wires
) -> None:
    with Writer(roots["qhdc"]) as first, Writer(roots["ndc"]) as second:
        first.goes_on()
        wires.cut(FIRST)
        try:
            began = time.monotonic()
            choose(members["hall-infra1"], "ndc", "qhdc")
            second.goes_on()
            print(f"writes at the other site {second.acknowledged[0] - began:.1f} s after the first was cut off")
            assert first.acknowledged[-1] < second.acknowledged[0]
            assert first.acknowledged[-1] - began <= READ_ONLY_AFTER + 0.5
        finally:
            wires.heal(FIRST)
        await_(lambda: follows(roots["qhdc"], "ndc"), 2 * AGAIN)
        second.goes_on()
    await_same(roots)
    assert "read-only transaction" in told(roots["qhdc"], WRITE)


def timeline(root: Path) -> str:
    return told(root, "select timeline_id from pg_control_checkpoint()")


FORGET = f"""
keep=$({BIN}/pg_controldata {DATA} | sed -n "s/.*REDO WAL file: *//p")
cd {DATA}/pg_wal; for one in ????????????????????????; do [ "$one" = "$keep" ] || rm $one; done
"""
"""Only what its own start needs is left of a server's log: it cannot be taken back to where it was like another one."""


@pytest.mark.parametrize(
    ("apart", "chosen", "rewinds"),
    [pytest.param("ndc", "qhdc", True, id="rewound"), pytest.param("qhdc", "ndc", False, id="copied anew")],
)
def test_what_two_sites_wrote_apart_is_not_mixed(
    *, apart: str, chosen: str, rewinds: bool,
    hosts: dict[str, Host], roots: dict[str, Path], members: dict[str, Member], wires: Wires,
) -> None:  # fmt: skip
    """Both went on from the same place by a timeline of their own: what the one wrote that is not chosen goes (T-B08).

    Where it cannot be taken back, all of it goes, and it is copied anew.
    """
    first, second = roots[apart], roots[chosen]
    alone = hosts[apart]
    wires.cut(name := next(one for one, site in HOLDERS.items() if site == apart))
    try:
        alone.stop()
        start = f"{BIN}/pg_ctl -D {DATA} -w -l /var/lib/qhs-database/by_hand.log start -o '-c listen_addresses='"
        # As it goes where its second member takes over just then.
        alone.by_hand(f"touch {DATA}/standby.signal; {start}; /{SITE} number; {BIN}/pg_ctl -D {DATA} -w promote")
        assert told(first, f"{WRITE} returning 1") == "1"
        if not rewinds:
            told(first, "select pg_switch_wal()")
        told(first, "checkpoint")
        number = int(timeline(first))
        alone.by_hand(f"{BIN}/pg_ctl -D {DATA} -w -m {'immediate' if rewinds else 'fast'} stop")
        if not rewinds:
            alone.by_hand(FORGET)
        choose(members["hall-infra1"], chosen, apart)
        with Writer(second) as writer:
            writer.goes_on()
        told(second, "checkpoint")
        assert int(timeline(second)) % 2 != number % 2, "no site gives the number of another"
    finally:
        wires.heal(name)
    alone.start()
    await_(lambda: follows(first, chosen), 2 * AGAIN)
    await_same(roots)
    assert ("remove_data_directory_on_rewind_failure" in patroni(first)) is not rewinds


def patroni(root: Path) -> str:
    """What it has said."""
    return (root / "var/log/patroni.log").read_text()
