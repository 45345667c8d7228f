"""A report follows from its journal, is signed, and shows any byte that was changed (T-B18)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qhs.drill import holding
from qhs.drill import journal as journals
from qhs.drill.actions import Evidence
from qhs.drill.journal import Done, Entry, Journal
from qhs.drill.page import page
from qhs.drill.report import report
from qhs.drill.seal import ReportError, Sealed, seal, wrong
from qhs.drill.written import Gap, Written
from qhs.errors import UserError
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.signing import BODY, RECORD
from tests.unit.image_notary import Office
from tests.unit.toy_drill import Toy, run

SUBJECT = f"{RECORD}/{BODY}"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("own"), SUBJECT, "duty")


@pytest.fixture(scope="module")
def sealed(office: Office, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    return seal(report(run(tmp_path_factory.mktemp("drill"))), office.sign)


def judged(sealed: Sealed, office: Office) -> list[str]:
    return [*wrong(sealed, office.trust(subject=SUBJECT))]


def test_a_report_as_it_was_signed_is_good(sealed: Sealed, office: Office, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(sealed.text())
    assert judged(Sealed.read(file), office) == []


def test_any_byte_that_is_changed_is_seen(sealed: Sealed, office: Office, tmp_path: Path) -> None:
    """Each 97th, so that every field has some, and all of the seal; one bit of each."""
    whole, file = sealed.text().encode(), tmp_path / "report.json"
    places = {*range(0, len(whole), 97), *range(whole.index(b'"seal"'), len(whole), 29)}
    for place in sorted(places):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = judged(Sealed.read(file), office)
        except ReportError:
            continue
        assert found, f"byte {place}: {whole[place - 20 : place + 20]!r}"


@pytest.mark.parametrize("left", [0, 1], ids=["no journal", "no evidence"])
def test_a_report_that_no_journal_is_left_of_is_wrong_and_no_error(left: int, sealed: Sealed, office: Office) -> None:
    entries = [
        one.model_copy(update={"event": one.event.model_copy(update={"evidence": []})})
        if isinstance(one.event, Done)
        else one
        for one in sealed.report.journal
    ]
    made = sealed.report.model_copy(update={"journal": entries[: left * len(entries)]})
    assert judged(seal(made, office.sign), office) != []


def test_a_report_that_is_signed_stays_as_it_is_and_another_is_signed_when_anybody_does(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estate: Estate
) -> None:
    journal = run(tmp_path)
    signs = [Sealed(report=report(journal), seal=None), seal(report(journal), office.sign)]
    monkeypatch.setattr(holding, "signed", lambda *_: signs.pop(0))
    twin = Twin("one")
    assert holding.sealed_of(estate, twin, journal).seal is None
    assert holding.sealed_of(estate, twin, journal).seal is not None
    kept = (journal.folder / holding.REPORT).read_text()
    assert holding.sealed_of(estate, twin, journal).text() == kept, "nobody is asked to sign it once more"
    assert (journal.folder / holding.REPORT).read_text() == kept


@pytest.mark.parametrize("what", ["cut", "more", "none", "another"])
def test_a_file_that_is_no_report_is_refused(what: str, sealed: Sealed, tmp_path: Path) -> None:
    text, file = sealed.text(), tmp_path / "report.json"
    file.write_text({"cut": text[:-2], "more": text + " ", "none": "", "another": "{}"}[what])
    with pytest.raises(ReportError, match="report"):
        Sealed.read(file)


def test_a_report_that_nobody_signed_shows_nothing(sealed: Sealed, office: Office) -> None:
    assert judged(Sealed(report=sealed.report, seal=None), office) == [
        "found no signature; wanted one of the estate's signer: `qhs drill report` has it signed"
    ]


def test_a_signature_of_another_key_of_the_estate_counts_for_nothing(sealed: Sealed, office: Office) -> None:
    other = Office(office.own, "qlvb/Văn phòng Quốc hội", "duty")
    (said,) = judged(seal(sealed.report, other.sign), office)
    assert said.startswith("found a signature of 'qlvb/")


def test_a_report_signed_by_the_right_key_still_has_to_follow_from_its_journal(sealed: Sealed, office: Office) -> None:
    better = sealed.report.model_copy(update={"commit": "1" * 40})
    assert judged(seal(better, office.sign), office) == [
        "found a report that says something else than its journal; wanted what follows from that"
    ]


def test_an_entry_that_is_taken_out_breaks_the_chain(sealed: Sealed, office: Office) -> None:
    entries = sealed.report.journal
    less = sealed.report.model_copy(update={"journal": [*entries[:4], *entries[5:]]})
    found = judged(seal(less, office.sign), office)
    assert found[0].startswith("entry 5: found it after")


def test_a_step_without_evidence_fails_the_drill(tmp_path: Path, office: Office) -> None:
    journal = run(tmp_path)
    bare = [
        one.model_copy(update={"event": Done(step="bright", evidence=[])}) if _is_done(one, "bright") else one
        for one in journal.entries
    ]
    made = report(Journal(journal.folder, bare))
    assert made.faults == ["no evidence: Power on"]
    assert "no evidence: Power on" in judged(seal(made, office.sign), office)


def _is_done(entry: Entry, step: str) -> bool:
    return isinstance(entry.event, Done) and entry.event.step == step


def test_a_journal_that_was_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "run" / journals.NAME
    path.write_text(path.read_text().replace('"step":"bright"', '"step":"dark"', 1))
    with pytest.raises(UserError, match=r"entry \d+: found the hash"):
        Journal.read(tmp_path / "run")


def test_a_plan_that_was_changed_is_seen(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "run" / journals.NAME
    path.write_text(path.read_text().replace("[C-DR-04]", "[C-DR-05]", 1))
    with pytest.raises(UserError, match="entry 1: found it after"):
        Journal.read(tmp_path / "run")


NOW = datetime(2026, 12, 1, tzinfo=UTC)


def written(seconds: float, **other: object) -> Written:
    gap = Gap(after=NOW, until=NOW + timedelta(seconds=seconds), over=True)
    return Written.model_validate({"rows": 100, "gap": gap, **other})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (written(119.5), []),
        (
            written(120.5),
            ["tier 1: found 120.5 s without writes and 0.0 s of writes lost; wanted 120 s and 0 s at most"],
        ),
        (
            written(10, lost={"a": [7]}, lost_seconds=0),
            ["tier 1: found 10.0 s without writes and 0.001 s of writes lost; wanted 120 s and 0 s at most"],
        ),
        (written(10, duplicate={"a": [3, 4]}), ["2 rows of a are there twice: 3, 4"]),
        (written(10, reordered={"a": [5]}), ["1 rows of a are there in another order: 5"]),
        (written(10, unknown={"a": [6]}), ["1 rows of a are there and nobody's: 6"]),
        (Written(rows=0), ["no record of a client outside: it wrote nothing"]),
    ],
    ids=["met", "late", "lost", "twice", "order", "nobody", "nothing"],
)
def test_what_the_client_wrote_is_judged(
    found: Written, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Toy, "start", lambda _: None)
    monkeypatch.setattr(Toy, "stop", lambda _: found)
    assert report(run(tmp_path)).faults == said


def test_phases_come_to_the_time_without_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gap begins before the steps and ends after them: what nobody did is the client's."""

    def stop(toy: Toy) -> Written:
        toy.write("client", "ended")
        done = {
            one.event.step: one.at for one in Journal.read(toy.folder / "run").entries if isinstance(one.event, Done)
        }
        gap = Gap(after=done["dark"], until=done["active"] + timedelta(seconds=2), over=True)
        return Written(rows=1, gap=gap)

    monkeypatch.setattr(Toy, "stop", stop)
    made = report(run(tmp_path))
    assert [one.name for one in made.phases] == ["promote", "first-write"]
    assert made.written.gap
    assert sum(one.seconds for one in made.phases) == pytest.approx(made.written.gap.seconds, abs=0.002)
    assert made.phases[1].seconds == 2.0


def test_evidence_says_something() -> None:
    with pytest.raises(ValueError, match="facts"):
        Evidence.of("all is well")


def test_the_page_says_it_all_in_both_languages_and_asks_nobody_else(sealed: Sealed) -> None:
    shown = page(sealed)
    for one in ("ĐẠT / passed", "Tắt", "Power off", "sha256:", sealed.report.commit, 'class="narrow"', "<svg"):
        assert one in shown, one
    assert "http" not in shown.replace("http://www.w3.org/2000/svg", "")
    assert page(sealed) == shown


def test_what_a_machine_said_is_text_on_the_page(sealed: Sealed) -> None:
    evil = Evidence.of("<script>alert(1)</script>", facts="<script>")
    step = sealed.report.steps[0].model_copy(update={"evidence": [evil]})
    shown = page(Sealed(report=sealed.report.model_copy(update={"steps": [step]}), seal=None))
    assert "<script>" not in shown
