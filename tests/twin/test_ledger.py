"""The ledger: an outside client writes and reads by the public names, and says what it was without (S-040, C-DR-06)."""

from __future__ import annotations

import json

import pytest

from qhs.ledger.book import Ledger
from qhs.twin import wires
from qhs.twin.names import Twin
from stacks.model.data import active
from tests.twin.conftest import MEASURED, Run, WatchedUp
from tests.twin.databases import ESTATE, OTHER

pytestmark = pytest.mark.live

SECONDS = 8
"""While nobody breaks anything."""
RATE = 5
"""Answers a second at least, of 20 tries: this machine may be slow, and no lane may be dumb."""


def test_nothing_is_lost_or_waits_while_nothing_is_broken_and_no_client_stays(
    qhs: Run, twin: Twin, second_up: WatchedUp
) -> None:
    done = qhs("ledger", "run", f"--seconds={SECONDS}", "--json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    databases, application = json.loads(done.stdout)["clients"]
    lanes = {lane["lane"]: lane for one in (databases, application) for lane in one["lanes"]}
    assert list(lanes) == ["write", "read", "web"]
    for name, lane in lanes.items():
        MEASURED.append(f"ledger: {name}: {lane['answered']} answers, at most {lane['gap']['seconds']:.2f} s apart")
        assert lane["answered"] >= RATE * SECONDS, lane
        assert lane["gap"]["over"] or lane["gap"]["seconds"] < 1, lane
        assert {span["site"] for span in lane["spans"]} == {active(ESTATE)}
    for one in (databases, application):
        assert one["rows"] >= RATE * SECONDS
        assert (one["lost"], one["duplicate"], one["reordered"], one["unknown"]) == ([], [], [], [])
    assert set(wires.namespaces(twin)[1]) == set(ESTATE.inventory.clients)
    again = qhs("ledger", "stop", "ndc")
    assert again.returncode == 1
    assert "no ledger was begun at ndc" in again.stderr


def test_how_far_copies_are_behind_is_shown_while_people_write(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
    ledger = Ledger.start(twin, ESTATE, OTHER, web=False)
    try:
        shown = [qhs("databases", "status", "--json") for _ in range(3)]
    finally:
        (report,) = ledger.stop()
    assert report.lost == []
    for one in shown:
        assert one.returncode == 0, one.stdout + one.stderr
        machines = json.loads(one.stdout)["machines"]
        assert [each["site"] for each in machines if each["writable"]] == [active(ESTATE)]
        late = max(each["late"] for each in machines)
        MEASURED.append(f"copies of databases: at most {late:.2f} s behind, while people write")
        assert late <= 5, machines
