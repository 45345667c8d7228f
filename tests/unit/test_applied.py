"""`qhs up --changed` goes where something is described otherwise, and nowhere else (T-A04)."""

from __future__ import annotations

from pathlib import Path

from qhs.applied import Applied
from tests.unit.catalogue_copy import Copy


def test_nothing_differs_from_itself_and_everything_from_nothing(tmp_path: Path) -> None:
    now = Applied.of(Copy.make(tmp_path, "twin").read())
    now.write(tmp_path / "applied.json")
    assert now.within(Applied.read(tmp_path / "applied.json")) == now
    assert now.within(Applied.read(tmp_path / "none.json")) == Applied()


def test_a_machine_more_concerns_itself_and_those_that_know_all_machines(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path, "twin")
    before = Applied.of(copy.read())
    copy.change("estate.yaml", "  qhdc:", "count: 2, number: 50", "count: 3, number: 50")
    after = Applied.of(copy.read())
    kept = after.within(before)
    assert after.machines.keys() - kept.machines.keys() == {
        "qhdc-app3", "qhdc-bastion1", "qhdc-infra1", "ndc-infra1", "hall-infra1", "qhdc-soc1",
    }  # fmt: skip
    assert after.sites.keys() - kept.sites.keys() == {"qhdc"}
