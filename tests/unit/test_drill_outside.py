"""What a ledger found is what a drill is measured by: the time of who writes to the databases, the rows of all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from qhs.drill.outside import written
from qhs.ledger.report import Row, judged
from qhs.ledger.tries import Begun, Try, Wrong

AT = datetime(2026, 12, 1, tzinfo=UTC)
BEGUN = Begun(begun=AT, clock=100.0, every=1.0, patience=1.0)


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


def test_time_is_that_of_the_databases_and_rows_are_those_of_all() -> None:
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


def test_a_client_that_is_never_answered_again_is_no_end_of_an_outage() -> None:
    first = judged("a", [BEGUN], tries("write", {8, 9, 10}), [Row(n, n) for n in range(1, 8)], 130.0)
    found = written([first])
    assert found.gap
    assert not found.gap.over
