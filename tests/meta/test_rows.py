"""Every row that the project claims to show names tests that exist."""

from __future__ import annotations

import yaml

from tests.meta.conftest import REPO
from tests.meta.test_collected import TESTS, written

SHOWN = {"T-A01", "T-A03", "T-A09", "T-D09", "T-F01", "T-F02", "T-F05", "T-F06", "T-F16"}
"""What the project has come to show; a row is added with the work that shows it, and never goes."""

ROWS: dict[str, list[str]] = yaml.safe_load((REPO / "tests" / "rows.yaml").read_text())


def test_every_row_names_tests_that_are_written() -> None:
    there = {name for file in TESTS.rglob("test_*.py") for name in written(file)}
    assert {row: sorted(set(tests) - there) for row, tests in ROWS.items() if set(tests) - there} == {}
    assert all(ROWS.values())


def test_no_row_that_was_shown_is_gone() -> None:
    assert set() == SHOWN - ROWS.keys()
