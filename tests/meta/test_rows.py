"""Every row that the project claims to show names tests that exist, and figures where it takes a soak to show it."""

from __future__ import annotations

import json

import pytest
import yaml

from qhs import soak
from tests.meta.conftest import REPO
from tests.meta.test_collected import TESTS, written

SHOWN = {
    "T-A01", "T-A02", "T-A03", "T-A04", "T-A05", "T-A06", "T-A07", "T-A09", "T-A10", "T-A11", "T-A12", "T-A16",
    "T-A18", "T-B01", "T-B02", "T-B03", "T-B04", "T-B05", "T-B06", "T-B07", "T-B08", "T-B09", "T-B10", "T-B11",
    "T-B12", "T-B13", "T-B14", "T-B15", "T-B16", "T-B17", "T-B18", "T-B19", "T-B20", "T-B21", "T-C12", "T-D09",
    "T-E01", "T-E02", "T-E03", "T-E04", "T-E05", "T-E06", "T-E07", "T-E08", "T-E09", "T-E10", "T-E11", "T-E12",
    "T-E13", "T-E14", "T-E15", "T-E16", "T-E17", "T-F01", "T-F02", "T-F03", "T-F04", "T-F05", "T-F06", "T-F07",
    "T-F08", "T-F09", "T-F10", "T-F11", "T-F12", "T-F13", "T-F14", "T-F15", "T-F16", "T-F17", "T-F18", "flapping-link",
    "metal",
}  # fmt: skip
"""What the project has come to show; a row is added with the work that shows it, and never goes."""

ROWS = yaml.safe_load((REPO / "tests" / "rows.yaml").read_text())
TESTS_OF: dict[str, list[str]] = {row: one["tests"] if isinstance(one, dict) else one for row, one in ROWS.items()}
SOAKED = soak.rows()
KEPT = {"row", "figures", "seconds", "date", "commit", "cores", "memory_gb"}


def test_every_row_names_tests_that_are_written() -> None:
    there = {name for file in TESTS.rglob("test_*.py") for name in written(file)}
    assert {row: sorted(set(tests) - there) for row, tests in TESTS_OF.items() if set(tests) - there} == {}
    assert all(TESTS_OF.values())


def test_no_row_that_was_shown_is_gone() -> None:
    assert set() == SHOWN - ROWS.keys()


def test_every_long_test_is_of_a_row_that_is_soaked() -> None:
    long = {name for file in (TESTS / "soak").glob("test_*.py") for name in written(file)}
    assert long == {name for row in SOAKED for name in TESTS_OF[row]}


@pytest.mark.parametrize("row", SOAKED)
def test_a_soaked_row_has_figures_within_its_bounds(row: str) -> None:
    path = soak.FIGURES / f"{row}.json"
    assert path.is_file(), f"{path}: no figures; wanted those of `make soak ROW={row}`"
    kept = json.loads(path.read_text())
    assert kept.keys() == KEPT
    assert kept["row"] == row
    assert soak.faults(SOAKED[row]["bounds"], kept["figures"]) == []


def test_no_figures_are_of_a_row_that_is_not_soaked() -> None:
    assert sorted(path.stem for path in soak.FIGURES.glob("*")) == sorted(SOAKED)


def test_a_figure_out_of_bounds_or_missing_is_found() -> None:
    bounds: soak.Bounds = {"lost": (0, 0), "runs": (30, None), "seconds": (None, 90)}
    assert soak.faults(bounds, {"lost": 0, "runs": 30, "seconds": 90}) == []
    assert soak.faults(bounds, {"lost": 1, "runs": 29, "other": 1}) == [
        "lost: found 1, wanted 0 to 0",
        "other: no bounds for it",
        "runs: found 29, wanted 30 to None",
        "seconds: not measured",
    ]
