"""A genuine primary and its Patroni take writes only while their site has the lease (S-040, C-DR-04)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.model.lease import READ_ONLY_AFTER, SECONDS
from tests.kernel.clusters import Member, Wires, wired
from tests.kernel.database_hosts import AGAIN, WRITE, Writer, hosted, told
from tests.kernel.leases import ADDRESSES, leased, stands
from tests.twin.waiting import await_

HOST = "qhdc-db1"


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with wired(ADDRESSES) as found:
        yield found


@pytest.fixture(scope="module")
def members(own: Path, wires: Wires, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Member]]:
    with leased(own, wires, tmp_path_factory.mktemp("members"), SECONDS) as found:
        yield found


@pytest.fixture(scope="module")
def root(
    own: Path, wires: Wires, members: dict[str, Member], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Of the machine with the database."""
    with hosted(HOST, own, wires, tmp_path_factory.mktemp("host"), begins=True) as host:
        told(host.root, "create table written (number serial)")
        yield host.root


def test_a_primary_that_cannot_renew_takes_no_writes_before_another_site_may(
    root: Path, wires: Wires, members: dict[str, Member]
) -> None:
    with Writer(root) as writer:
        writer.goes_on()
        assert stands(members["hall-infra1"])["active"] == "qhdc"
        began = time.monotonic()
        wires.cut(HOST)
        try:
            await_(lambda: stands(members["hall-infra1"])["active"] == "", SECONDS + 20)
            lost = time.monotonic()
            last = writer.acknowledged[-1]
            assert writer.sessions == 1, "it was one session that wrote all the time"
            print(f"last write {last - began:.1f} s after the cut, the lease lost {lost - began:.1f} s after it")
            assert last - began <= READ_ONLY_AFTER + 0.5
            assert last < lost - 1
            # It can still be read, and nobody gets it to take a write.
            await_(lambda: told(root, "select count(*) > 0 from written where pg_is_in_recovery()") == "t", AGAIN)
            assert "read-only transaction" in told(root, WRITE)
            assert "during recovery" in told(root, f"begin read write; {WRITE}")
            assert writer.acknowledged[-1] == last
        finally:
            wires.heal(HOST)
        back = time.monotonic()
        writer.goes_on()
        print(f"writes again {time.monotonic() - back:.1f} s after the cut was healed")
    assert int(told(root, "select count(*) from written")) >= len(writer.acknowledged)
