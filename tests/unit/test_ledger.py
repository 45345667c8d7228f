"""What a ledger's file and the rows found afterwards come to: each fault is seeded, and named by its number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qhs.errors import UserError
from qhs.layout import outsider
from qhs.ledger.book import Ledger
from qhs.ledger.cli import chosen
from qhs.ledger.report import LedgerReport, Row, first_after, judged
from qhs.ledger.tries import Begun, Ended, File, Lane, Try, Wrong, begun, ended, read
from qhs.twin.names import Twin
from stacks.model import Estate, ledger, load
from stacks.model.addresses import CLIENT
from stacks.model.data import SERVICE, members
from stacks.model.estate import Place
from stacks.model.ingress import PEOPLE

START, CLOCK, EVERY = datetime(2026, 11, 30, tzinfo=UTC), 1000.0, 0.05
BEGUN = Begun(begun=START, clock=CLOCK, every=EVERY, patience=1.0)


def tried(
    number: int, wrong: Wrong | None = None, *, site: str = "qhdc", lane: Lane = "write", took: float = 0.01
) -> Try:
    """At its turn."""
    address = "10.16.0.1" if site else ""
    at = CLOCK + number * EVERY
    return Try(lane=lane, number=number, at=at, took=took, address=address, site=site, wrong=wrong)


def found(tries: list[Try], numbers: list[int], ended_after: float = 0.5) -> LedgerReport:
    """Rows in the order in which they were put in."""
    rows = [Row(place, number) for place, number in enumerate(numbers, 1)]
    return judged("ndc-1", [BEGUN], tries, rows, tries[-1].until + ended_after)


def test_what_is_whole_says_so() -> None:
    report = found([tried(number) for number in range(1, 101)], list(range(1, 101)))
    assert report.whole
    assert (report.rows, report.lost, report.unacknowledged) == (100, [], [])
    (lane,) = report.lanes
    assert (lane.lane, lane.tries, lane.answered, lane.wrong) == ("write", 100, 100, {})
    assert lane.gap.seconds == pytest.approx(EVERY)
    assert report.seconds == pytest.approx(100 * EVERY + 0.01)


def test_rows_that_are_lost_are_named_with_the_seconds_that_they_are_of() -> None:
    report = found([tried(number) for number in range(1, 101)], [*range(1, 80), *range(90, 101)])
    assert report.lost == list(range(80, 90))
    assert report.lost_seconds == pytest.approx(9 * EVERY)
    assert not report.whole


def test_a_row_that_nobody_acknowledged_is_not_lost_and_no_fault_where_it_is_there() -> None:
    tries = [tried(1), tried(2, Wrong.SILENT), tried(3, Wrong.SILENT), tried(4)]
    report = found(tries, [1, 3, 4])
    assert (report.lost, report.unacknowledged) == ([], [3])
    assert report.whole
    assert found(tries, [1, 4, 3]).whole, "it was done once its client had gone on"
    last = found(tries, [1, 3, 4, 5])
    assert (last.unacknowledged, last.unknown) == ([3, 5], []), "it was on its way when the client ended"


@pytest.mark.parametrize(
    ("rows", "fault", "numbers"),
    [
        ([1, 2, 3, 3, 4], "duplicate", [3]),
        ([1, 3, 2, 4], "reordered", [2]),
        ([4, 1, 2, 3], "reordered", [1, 2, 3]),
        ([1, 2, 3, 4, 7], "unknown", [7]),
        ([1, 2, 4], "lost", [3]),
    ],
)
def test_each_fault_of_rows_is_named(rows: list[int], fault: str, numbers: list[int]) -> None:
    report = found([tried(number) for number in range(1, 5)], rows)
    kinds = ("lost", "duplicate", "reordered", "unknown")
    assert {kind: getattr(report, kind) for kind in kinds} == {kind: [] for kind in kinds} | {fault: numbers}
    assert not report.whole


def test_the_longest_gap_says_when_it_was_noticed_and_when_the_name_led_elsewhere() -> None:
    tries = [
        *(tried(number) for number in range(1, 41)),
        tried(41, Wrong.SILENT, took=1.0),
        *(tried(number, Wrong.CONNECTION) for number in range(70, 100)),
        tried(100, Wrong.NAME, site=""),
        *(tried(number, Wrong.READ_ONLY, site="ndc") for number in range(101, 121)),
        *(tried(number, site="ndc") for number in range(121, 200)),
    ]
    gap = found(tries, []).of("write").gap
    assert gap.since == pytest.approx(CLOCK + 40 * EVERY + 0.01)
    assert gap.until == pytest.approx(CLOCK + 121 * EVERY + 0.01)
    assert gap.seconds == pytest.approx(81 * EVERY)
    assert gap.begun == START + timedelta(seconds=gap.since - CLOCK)
    assert (gap.over, gap.site_before, gap.site_after, gap.number_after) == (True, "qhdc", "ndc", 121)
    assert gap.failed == pytest.approx(CLOCK + 41 * EVERY + 1)
    assert gap.redirected == pytest.approx(CLOCK + 101 * EVERY)


def test_what_answered_never_or_no_more_is_a_gap_that_is_not_over() -> None:
    down = [tried(number, Wrong.SILENT) for number in range(2, 30)]
    ended = found([tried(1), *down], [1]).of("write").gap
    assert (ended.over, ended.number_after) == (False, 0)
    assert ended.seconds == pytest.approx(28 * EVERY + 0.5)
    never = found(down, []).of("write").gap
    assert (never.over, never.seconds) == (False, pytest.approx(27 * EVERY + 0.51))
    late = found([*down, tried(30)], [30]).of("write").gap
    assert (late.over, late.seconds) == (True, pytest.approx(28 * EVERY + 0.01))


def test_a_client_that_died_leaves_a_gap_that_is_not_over() -> None:
    gap = found([tried(number) for number in range(1, 30)], list(range(1, 30)), ended_after=300).of("write").gap
    assert (gap.over, gap.seconds) == (False, pytest.approx(300))


def test_reads_go_on_while_writes_do_not() -> None:
    writes = [tried(number, Wrong.READ_ONLY if 10 < number < 50 else None) for number in range(1, 60)]
    reads = [tried(number, lane="read") for number in range(1, 60)]
    report = found([one for both in zip(writes, reads, strict=True) for one in both], [*range(1, 11), *range(50, 60)])
    assert report.whole
    assert report.of("write").wrong == {Wrong.READ_ONLY: 39}
    write, read_ = report.of("write").gap, report.of("read").gap
    assert (write.seconds, read_.seconds) == (pytest.approx(40 * EVERY), pytest.approx(EVERY))


def test_which_site_answered_when() -> None:
    sites = ["qhdc"] * 5 + ["ndc"] * 3 + ["qhdc"] * 2
    tries = [tried(number, site=site) for number, site in enumerate(sites, 1)]
    spans = found(tries, list(range(1, 11))).of("write").spans
    assert [(one.site, one.tries) for one in spans] == [("qhdc", 5), ("ndc", 3), ("qhdc", 2)]
    assert spans[1].since == pytest.approx(CLOCK + 6 * EVERY + 0.01)


def test_the_first_write_after_a_moment_is_one_that_was_asked_after_it() -> None:
    tries = [tried(1), tried(2, took=2.0), tried(3, Wrong.SILENT), tried(4, lane="read"), tried(5)]
    after = first_after(tries, "write", CLOCK + 2.5 * EVERY)
    assert after and after.number == 5
    assert first_after(tries, "write", CLOCK + 6 * EVERY) is None


def test_a_file_is_read_as_it_was_written_and_a_half_line_of_one_that_was_killed_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    written = [tried(1), tried(2, Wrong.READ_ONLY), tried(2, lane="read")]
    for _ in range(2):
        with File(path) as file:
            file.add(begun(EVERY, 1.0))
            for one in written:
                file.add(one)
    with path.open("a") as file:
        file.write('{"lane":"write","num')
    begins, tries = read(path)
    assert len(begins) == 2
    assert tries == written * 2
    assert read(tmp_path / "none") == ([], [])


def test_when_a_client_was_told_to_end_is_in_its_file_and_holds_until_another_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    assert ended(path) is None
    with File(path) as file:
        file.add(begun(EVERY, 1.0))
        file.add(tried(1))
    assert ended(path) is None, "it died"
    with File(path) as file:
        file.add(Ended(ended=12.5))
    assert (ended(path), read(path)[1]) == (12.5, [tried(1)])
    with File(path) as file:
        file.add(begun(EVERY, 1.0))
    assert ended(path) is None


def asked(estate: Estate, place: Place, service: str) -> set[str | None]:
    """The sites at which flows let a place ask for a service."""
    there = [one for one in estate.conversations if (one.source, one.target.service) == (place, service)]
    return {one.destination.site for one in there}


@pytest.mark.parametrize("environment", ["twin", "prod"])
def test_a_client_stands_where_a_flow_lets_it_ask_and_nowhere_that_one_was_made_for(environment: str) -> None:
    """C-NET-02: whoever asks in a drill stands among those who may anyway."""
    estate = load(environment)
    assert len(estate.catalogue.tenants[ledger.TENANT].databases) == 1
    for site in members(estate):
        place = ledger.application_zone(estate, site)
        asks = {
            one.destination.site for one in estate.conversations if (one.source, one.target.service) == (place, SERVICE)
        }
        assert asks >= set(members(estate))
    people = ledger.people(estate)
    assert people.site not in members(estate)
    comes = {
        one.destination.site for one in estate.conversations if (one.source, one.target.service) == (people, PEOPLE)
    }
    assert comes >= set(members(estate))
    for place in (people, *(ledger.application_zone(estate, site) for site in members(estate))):
        assert asked(estate, place, ledger.NAMES) >= set(members(estate))


def test_a_client_has_an_address_of_its_segment_that_no_other_has() -> None:
    estate = load("twin")
    places = [ledger.people(estate), *(ledger.application_zone(estate, site) for site in members(estate))]
    stands = [outsider(estate, place) for place in places]
    taken = {address for one in estate.machines.values() for address in one.addresses}
    for place, stand in zip(places, stands, strict=True):
        for _, own in stand.interfaces():
            assert any(own.ip in network for network in place.prefix.both)
            assert str(own.ip) not in taken
        own = next(own for _, own in stand.interfaces())
        assert int(own.ip) - int(place.prefix.ipv4.network_address) >= CLIENT
    assert len({stand.name for stand in stands}) == len(stands)


def test_a_ledger_that_cannot_be_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    estate, nowhere = load("twin"), Twin("ofatest")
    with pytest.raises(UserError, match="twin ofatest is not up"):
        Ledger.start(nowhere, estate, "ndc", web=True)
    with pytest.raises(UserError, match="no ledger was begun at ndc"):
        Ledger.found(nowhere, estate, "ndc")
    assert not nowhere.state.exists()
    assert chosen(estate, "") == "ndc"
    assert chosen(estate, "qhdc") == "qhdc"
    with pytest.raises(UserError, match="found --at hall; wanted a site with databases, qhdc or ndc"):
        chosen(estate, "hall")
