"""What a ledger found is what a drill is measured by: the time of whoever was longest without, the rows of all."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qhs.drill.outside import Outside, written
from qhs.errors import UserError
from qhs.ledger.book import Ledger
from qhs.ledger.report import Row, judged
from qhs.ledger.tries import Begun, Ended, File, Try, Wrong
from qhs.twin.names import Twin
from stacks.model import Estate

AT = datetime(2026, 12, 1, tzinfo=UTC)
BEGUN = Begun(begun=AT, clock=100.0, every=1.0, patience=1.0)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estate: Estate) -> Outside:
    """Of a drill that began then, on a twin that is not up, with a note of a client that was begun then."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one = Outside(Twin("ofatest"), estate, "ndc", AT + timedelta(seconds=0.5))
    (one.twin.state / "ledgers").mkdir(parents=True)
    part = {"run": f"ndc-{AT:%Y%m%dT%H%M%SZ}", "place": "internet", "web": False}
    (one.twin.state / "ledgers" / "ndc.json").write_text(json.dumps([part]))
    return one


def test_a_drill_goes_on_with_its_own_client_alone(outside: Outside) -> None:
    outside.goes_on()
    later = replace(outside, since=AT + timedelta(seconds=1))
    for act in (later.start, later.goes_on, later.stop):
        with pytest.raises(UserError, match="found one of 2026-12-01T00:00:00Z, from before this drill"):
            act()
    later.leave()
    assert Ledger.stands(outside.twin, "ndc"), "it is another's"
    outside.leave()
    outside.leave()
    for act in (outside.goes_on, outside.stop):
        with pytest.raises(UserError, match="no ledger was begun at ndc"):
            act()


def test_a_client_that_was_killed_as_it_began_is_left_for_another(outside: Outside) -> None:
    with pytest.raises(UserError, match="which was killed as it began"):
        outside.stop()
    with pytest.raises(UserError, match="is not up"):
        outside.start()
    assert not Ledger.stands(outside.twin, "ndc")


def test_a_ledger_that_was_killed_as_it_began_can_be_ended(outside: Outside) -> None:
    one = Ledger.found(outside.twin, outside.estate, "ndc")
    with pytest.raises(UserError, match="which was killed as it began"):
        one.stop()
    assert not Ledger.stands(outside.twin, "ndc")


def test_a_ledger_is_not_lost_while_nobody_can_read_its_rows(outside: Outside) -> None:
    one = Ledger.found(outside.twin, outside.estate, "ndc")
    with File(one.file(one.parts[0])) as file:
        file.add(BEGUN)
    assert one.goes_on()
    with pytest.raises(UserError, match="is not up"):
        one.stop()
    with File(one.file(one.parts[0])) as file:
        file.add(Ended(ended=2.0))
    assert not one.goes_on()
    assert Ledger.stands(outside.twin, "ndc")


def tries(lane: str, failed: set[int]) -> list[Try]:
    """One a second; those that failed were answered nothing."""
    return [
        Try.model_validate(
            {
                "lane": lane, "number": number, "at": 100.0 + number, "took": 0.5, "site": "ndc",
                "wrong": Wrong.SILENT if number in failed else None,
            }
        )
        for number in range(1, 11)
    ]  # fmt: skip


def test_time_is_that_of_whoever_was_longest_without_and_rows_are_those_of_all() -> None:
    rows = [Row(number, number) for number in (1, 2, 8, 9, 10)]
    first = judged("a", [BEGUN], tries("write", {4, 5, 6, 7}), rows, 111.0)
    order = [Row(place, number) for place, number in enumerate((1, 2, 3, 4, 6, 5, 7, 8, 9, 10))]
    web = judged("a-web", [BEGUN], tries("web", set()), order, 111.0)
    found = written([first, web])
    assert found.rows == 6 + 10
    assert found.gap
    assert (found.gap.after, found.gap.until) == (AT + timedelta(seconds=3.5), AT + timedelta(seconds=8.5))
    assert (found.gap.over, found.gap.seconds) == (True, 5.0)
    assert (found.lost, found.reordered, found.duplicate) == ({"a": [3]}, {"a-web": [5]}, {})
    assert found.failed == {"a": 4}
    assert set(found.told) == {"a", "a-web"}


@pytest.mark.parametrize(
    ("failed", "seconds", "over"),
    [
        pytest.param({3, 4, 5, 6, 7, 8}, 7.0, True, id="longer than the databases"),
        pytest.param({10}, 1.5, False, id="not answered again"),
    ],
)
def test_an_application_that_is_longer_without_is_what_counts(failed: set[int], seconds: float, over: bool) -> None:
    every = [Row(number, number) for number in range(1, 11)]
    first = judged("a", [BEGUN], tries("write", {4, 5, 6, 7}), every, 111.0)
    found = written([first, judged("a-web", [BEGUN], tries("web", failed), every, 111.0)])
    assert found.gap
    assert (found.gap.seconds, found.gap.over) == (seconds, over)


def test_a_client_that_tried_nothing_is_no_record() -> None:
    first = judged("a", [BEGUN], tries("write", set()), [Row(n, n) for n in range(1, 11)], 111.0)
    with pytest.raises(UserError, match="a-web: found no try"):
        written([first, judged("a-web", [BEGUN], [], [], 111.0)])


def test_a_client_that_is_never_answered_again_is_no_end_of_an_outage() -> None:
    first = judged("a", [BEGUN], tries("write", {8, 9, 10}), [Row(n, n) for n in range(1, 8)], 130.0)
    found = written([first])
    assert found.gap
    assert not found.gap.over
