"""Every row that the project claims to show names tests that exist."""

from __future__ import annotations

import yaml

from tests.meta.conftest import REPO
from tests.meta.test_collected import TESTS, written

ROWS: dict[str, list[str]] = yaml.safe_load((REPO / "tests" / "rows.yaml").read_text())


def test_every_row_names_tests_that_are_written() -> None:
    there = {name for file in TESTS.rglob("test_*.py") for name in written(file)}
    assert {row: sorted(set(tests) - there) for row, tests in ROWS.items() if set(tests) - there} == {}
    assert all(ROWS.values())
