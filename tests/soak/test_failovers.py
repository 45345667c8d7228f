"""A centre is lost with rows that it had not passed on: the report names each (T-B04).

It comes back without them (T-B08).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from qhs.drill import held
from qhs.drill.journal import Held
from qhs.drill.known import ESTATE as DRILLS
from qhs.drill.plan import read
from qhs.drill.report import DrillReport
from qhs.ledger import tries
from qhs.twin.names import Twin
from stacks.model import ledger
from tests.twin.conftest import NAME, QHS, Run, WatchedUp
from tests.twin.databases import ESTATE, MEMBERS, SITES, active, leader, told
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

HOME, AWAY = SITES


@pytest.fixture(autouse=True)
def at_home(qhs: Run, second_up: WatchedUp) -> Iterator[None]:
    """Writes are taken where they belong, before and after."""
    yield
    if active(qhs) != HOME:
        passed(qhs, "failback")


def passed(qhs: Run, drill: str) -> DrillReport:
    """The report of a drill that passed."""
    done = qhs("drill", drill, "--json")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return DrillReport.model_validate(json.loads(done.stdout)["report"])


def test_rows_that_a_lost_centre_had_not_passed_on_are_named_and_gone_from_it(
    qhs: Run, hosts: Hosts, twin: Twin, figures: dict[str, float]
) -> None:
    """Cut off from the copies once nobody asks any more how old these are, it acknowledges rows that go with it."""
    # What rows are written to is there for longer than they are.
    assert qhs("ledger", "run", "--seconds", "5").returncode == 0
    script = read("failover", DRILLS, ESTATE.catalogue.tiers)
    asked = [one.do for one in script.plan.conditions].index("lag-within")
    env = {**os.environ, "QHS_TWIN": NAME}
    with subprocess.Popen([QHS, "drill", "failover", "--json"], env=env, stdout=subprocess.PIPE) as running:
        await_(lambda: holds(twin) > asked, 120)
        there = " ".join(one for name in MEMBERS[AWAY] for one in ESTATE.machines[name].addresses)
        hosts.say(f"for one in {there}; do ip route replace unreachable $one; done", MEMBERS[HOME])
        said, _ = running.communicate()
    assert running.returncode == 2, said[-4000:]
    found = DrillReport.model_validate(json.loads(said)["report"])
    assert (found.primary, active(qhs)) == (AWAY, AWAY)
    assert [one.name for one in found.steps if one.state != "done"] == []
    missing = {run: sorted(acknowledged(twin, run) - present(hosts, AWAY, run)) for run in found.written.told}
    assert found.written.lost == {run: rows for run, rows in missing.items() if rows}
    lost = sum(map(len, missing.values()))
    assert lost
    assert [fault for fault in found.faults if "of writes lost; wanted" not in fault] == []
    assert passed(qhs, "failback").primary == HOME
    assert {run: sorted(acknowledged(twin, run) - present(hosts, HOME, run)) for run in missing} == missing
    figures |= {"rows lost": lost, "seconds of writes lost": round(found.written.lost_seconds, 2)}


def holds(twin: Twin) -> int:
    """How many conditions of the drill that is under way hold."""
    running = held.unfinished(twin)
    return len([*running.events(Held)]) if running else 0


def acknowledged(twin: Twin, run: str) -> set[int]:
    """Rows of which a client was told that they are there."""
    _, tried = tries.read(twin.state / "ledgers" / f"{run}.jsonl")
    return {one.number for one in tried if one.lane != "read" and one.wrong is None}


def present(hosts: Hosts, site: str, run: str) -> set[int]:
    """Rows that are there."""
    asked = "select run || ' ' || number from ledger.rows"
    (said,) = told(hosts, [leader(hosts, site)], asked, ledger.database(ESTATE)).values()
    return {int(number) for of, number in map(str.split, said.splitlines()) if of == run}
