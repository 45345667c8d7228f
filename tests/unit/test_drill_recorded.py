"""What is on record of drills: a report counts that is signed, of this estate, and of a drill that passed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from qhs.drill import held, recorded
from qhs.drill.cli import REPORT
from qhs.drill.report import DrillReport, report
from qhs.drill.seal import Sealed, seal
from qhs.errors import UserError
from qhs.twin.names import Twin
from stacks.model import Estate, load
from stacks.model.signing import BODY, RECORD
from tests.unit.image_notary import Office
from tests.unit.toy_drill import run

SUBJECT = f"{RECORD}/{BODY}"
NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def estate() -> Estate:
    return load("twin")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("own"), SUBJECT, "duty")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, office: Office) -> DrillReport:
    """The report of a drill of this estate that has passed; its journal lies where those of a twin do."""

    class Known:
        trust = office.trust(subject=SUBJECT)

    monkeypatch.setattr(held, "folder", lambda twin: tmp_path)
    monkeypatch.setattr(recorded, "notary", lambda *_: Known)
    return report(run(tmp_path))


def on_record(estate: Estate, folder: Path, text: str) -> list[tuple[str, datetime, tuple[str, ...]]]:
    (folder / "run" / REPORT).write_text(text)
    found = recorded.recorded(estate, Twin("of-a-test"), NOW)
    assert found.at == NOW
    return [(one.plan, one.ended, one.faults) for one in found.held]


def test_a_signed_report_of_a_drill_that_passed_counts(
    made: DrillReport, office: Office, estate: Estate, tmp_path: Path
) -> None:
    assert on_record(estate, tmp_path, seal(made, office.sign).text()) == [(made.drill, made.ended, ())]


def test_one_that_nobody_signed_or_that_failed_counts_for_nothing(
    made: DrillReport, office: Office, estate: Estate, tmp_path: Path
) -> None:
    ((*_, faults),) = on_record(estate, tmp_path, Sealed(report=made, seal=None).text())
    assert faults == ("found no signature; wanted one of the estate's signer: `qhs drill report` has it signed",)
    failed = made.model_copy(update={"faults": ["told to go back"], "passed": False})
    ((*_, faults),) = on_record(estate, tmp_path, seal(failed, office.sign).text())
    assert "told to go back" in faults


def test_one_of_another_environment_counts_for_nothing(made: DrillReport, office: Office, tmp_path: Path) -> None:
    ((*_, faults),) = on_record(load("prod"), tmp_path, seal(made, office.sign).text())
    assert faults == ("found one of twin; wanted one of prod",)


def test_what_is_no_report_is_none(made: DrillReport, office: Office, estate: Estate, tmp_path: Path) -> None:
    assert on_record(estate, tmp_path, seal(made, office.sign).text()[:-2]) == []
    (tmp_path / "run" / REPORT).unlink()
    assert recorded.recorded(estate, Twin("of-a-test"), NOW).held == ()


def test_without_a_certificate_to_judge_by_nothing_counts(
    made: DrillReport, office: Office, estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise UserError("found no certificate", "`qhs up`")

    monkeypatch.setattr(recorded, "notary", none)
    ((*_, faults),) = on_record(estate, tmp_path, seal(made, office.sign).text())
    assert len(faults) == 1 and "found no certificate" in faults[0]
