"""The active centre is lost again and again: nothing is mixed up by it (T-B09), and each phase takes its time (T-B19).

And one that is lost with rows that it had not passed on: the report names each (T-B04), and it comes back without
them (T-B08).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import pytest

from qhs.drill import held
from qhs.drill.journal import Held, Journal, journals
from qhs.drill.known import ESTATE as DRILLS
from qhs.drill.plan import read
from qhs.drill.report import DrillReport, report
from qhs.ledger import tries
from qhs.twin.names import Twin
from stacks.model import ledger
from tests.twin.conftest import NAME, QHS, Run, WatchedUp
from tests.twin.databases import ESTATE, MEMBERS, SITES, active, leader, told
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

HOME, AWAY = SITES
LOST = 10
"""Times that a centre is lost (T-B09)."""
RUNS = 30
"""Of drills that move writes (T-B19)."""
MOVES = {"failover": AWAY, "failback": HOME}
"""Each to a site."""
BACKUP = "systemctl start qhs-database-backup-keys.service qhs-database-backup.service"
OTHERWISE = "different checksum"
"""What pgBackRest says of a log that another one of its name lies at a store of already."""


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


def facts(report: DrillReport, step: str) -> dict[str, Any]:
    return next(one.evidence[0].facts for one in report.steps if one.name == step)


def restored(qhs: Run, hosts: Hosts, site: str) -> int:
    """By which timeline a site's own copy was restored to a point at random since writes came there."""
    hosts.say(BACKUP, [leader(hosts, site)])
    return int(facts(passed(qhs, "restore"), "restore")["timeline"])


def stored_otherwise(hosts: Hosts) -> int:
    """How often a store had another log of the same name."""
    members = [name for site in SITES for name in MEMBERS[site]]
    asked = f"journalctl -u qhs-database.service -u qhs-database-backup.service | grep -c '{OTHERWISE}' || true"
    return sum(int(said) for said in hosts.say(asked, members).values())


def test_after_ten_failovers_there_and_back_every_timeline_can_be_restored(
    qhs: Run, hosts: Hosts, figures: dict[str, float]
) -> None:
    timelines = set()
    for _ in range(LOST):
        for drill, site in MOVES.items():
            assert passed(qhs, drill).primary == site
            timelines.add(restored(qhs, hosts, site))
    figures |= {"centres lost": LOST, "timelines restored": len(timelines), OTHERWISE: stored_otherwise(hosts)}


def test_thirty_drills_say_how_long_each_phase_takes(qhs: Run, twin: Twin, figures: dict[str, float]) -> None:
    """In a row, without one that failed; those that this twin has just seen count."""
    while len(in_a_row(twin)) < RUNS:
        for drill in MOVES:
            passed(qhs, drill)
    runs = in_a_row(twin)
    figures |= {"runs": len(runs), "rows lost": sum(len(rows) for one in runs for rows in one.written.lost.values())}
    for drill in MOVES:
        own = [one.phases for one in runs if one.drill == drill]
        names = dict.fromkeys(phase.name for phases in own for phase in phases)
        figures |= spread(f"{drill}, seconds without writes", [sum(one.seconds for one in phases) for phases in own])
        for name in names:
            each = [sum(one.seconds for one in phases if one.name == name) for phases in own]
            figures |= spread(f"{drill}, seconds to {name}", each)


def in_a_row(twin: Twin) -> list[DrillReport]:
    """Of a twin's drills that lose a site and bring it back those since the last one that failed, 30 at most."""
    every = map(Journal.read, journals(held.folder(twin)).values())
    moves = [report(one) for one in every if one.over and one.began.name in MOVES]
    return [*takewhile(lambda one: one.passed, reversed(moves))][:RUNS]


def spread(what: str, seconds: list[float]) -> dict[str, float]:
    """The half of all, and 19 of 20, take no longer."""
    cut = statistics.quantiles(seconds, n=20, method="inclusive")
    return {f"{what}, p50": round(cut[9], 1), f"{what}, p95": round(cut[18], 1)}


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
