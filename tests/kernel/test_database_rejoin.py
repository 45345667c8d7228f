"""A second member of a lost site, of genuine servers and Patronis: what it has and nobody else goes (T-B08)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stacks.model.lease import SECONDS
from tests.kernel.clusters import Wires, wired, within
from tests.kernel.database_hosts import AGAIN, REJOIN, WRITE, Host, Writer, hosted, told
from tests.kernel.leases import ADDRESSES, HOLDERS, choose, leased
from tests.twin.waiting import await_

FIRST, OTHER = HOLDERS
SECOND = "qhdc-db2"
THREE = {FIRST: "qhdc", SECOND: "qhdc", OTHER: "ndc"}
EVERYBODY = ADDRESSES | {SECOND: "10.16.0.13"}
ASTRAY = "forked off current database system timeline"


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with wired(EVERYBODY) as found:
        yield found


def rows(host: Host) -> str:
    return told(host.root, "select count(*), max(number) from written")


def streams(host: Host, whose: str) -> bool:
    """Whether it gets the log of another machine now."""
    return told(host.root, "select status, sender_host from pg_stat_wal_receiver") == f"streaming|{EVERYBODY[whose]}"


def looks(host: Host) -> str:
    """What its unit says, each time it is due."""
    enter = within(
        host.network, host.root, "/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"
    )
    done = subprocess.run([*enter, f"/{REJOIN}"], capture_output=True, text=True, check=False)
    return done.stdout


def test_a_second_member_that_went_astray_is_copied_anew_and_nobody_else(
    own: Path, wires: Wires, tmp_path: Path
) -> None:
    with leased(own, wires, tmp_path / "members", SECONDS, THREE) as members, ExitStack() as stack:
        first, second, other = (
            stack.enter_context(
                hosted(name, own, wires, tmp_path / "hosts", begins=name == FIRST, holders=THREE, addresses=EVERYBODY)
            )
            for name in THREE
        )
        told(first.root, "create table written (number serial primary key)")
        assert told(first.root, WRITE) == ""
        await_(lambda: rows(first) == rows(second) == rows(other) == "1|1", AGAIN)
        assert [looks(one) for one in (first, second, other)] == ["", "", ""]
        wires.cut(OTHER)
        assert told(first.root, f"{WRITE} returning 1") == "1"
        await_(lambda: rows(second) == rows(first), AGAIN)
        # The kernel goes on sending what one that died had given to it.
        for one in (first, second, other):
            one.stop()
        wires.heal(OTHER)
        other.start()
        choose(members["hall-infra1"], "ndc", "qhdc")
        with Writer(other.root) as writer:
            writer.goes_on()
        told(other.root, "checkpoint")
        first.start()
        second.start()
        await_(lambda: streams(first, OTHER) or streams(second, OTHER), 2 * AGAIN)
        leads, astray = (FIRST, second) if streams(first, OTHER) else (SECOND, first)
        await_(lambda: ASTRAY in (astray.root / "var/log/patroni.log").read_text(), AGAIN)
        said = []
        await_(
            lambda: said.append(looks(astray)) or (streams(astray, leads) and rows(astray) == rows(other)), 2 * AGAIN
        )
        assert any("it is copied anew" in one for one in said)
        assert [looks(one) for one in (first, second, other)] == ["", "", ""]
