"""Timelines of two sites have numbers that only one of them gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from qhs_database_timeline import leave_others


@pytest.mark.parametrize(
    ("current", "known", "place", "left"),
    [
        (1, [], 1, [2]),
        (1, [], 0, []),
        (3, [2, 3], 1, [4]),
        (3, [2, 3], 0, []),
        (3, [2, 3, 4], 1, []),
        (3, [2, 3, 4], 0, [5]),
    ],
)
def test_a_site_leaves_the_numbers_of_the_other(
    tmp_path: Path, current: int, known: list[int], place: int, left: list[int]
) -> None:
    (tmp_path / "archive_status").mkdir()
    for one in known:
        (tmp_path / f"{one:08X}.history").write_text(f"{one - 1}\t0/3000000\tno recovery target specified\n")
    (tmp_path / "000000010000000000000001").touch()
    assert leave_others(tmp_path, current, place, 2) == left
    given = max({current, *known, *left}) + 1
    assert given % 2 == place
    for one in left:
        assert (tmp_path / f"{one:08X}.history").read_text() == f"{one - 1}\t0/1\tleft to another site\n"
        assert (tmp_path / f"archive_status/{one:08X}.history.ready").exists()
    assert leave_others(tmp_path, current, place, 2) == [], "asked again before it is promoted"


def test_of_three_sites_two_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "archive_status").mkdir()
    assert leave_others(tmp_path, 10, 1, 3) == [11, 12]
