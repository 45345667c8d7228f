"""The signer's log: a line that was changed, taken out or put in breaks the chain at its place (T-E11)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from chained import FIRST, Chained, broken


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    for start in (0, 3):  # as after a restart
        log = Chained(tmp_path / "log")
        for number in range(start, start + 3):
            log.add(did="signed", digest=f"{number:02}" * 32)
    return (tmp_path / "log").read_text().splitlines()


def test_a_whole_log_holds_over_restarts(lines: list[str]) -> None:
    assert len(lines) == 6
    assert json.loads(lines[0])["before"] == FIRST
    assert broken(lines) is None


@pytest.mark.parametrize(
    ("spoil", "at"),
    [
        (lambda lines: lines.pop(2), 3),
        (lambda lines: lines.insert(2, lines[1]), 3),
        (lambda lines: lines.__setitem__(2, lines[2].replace("02" * 32, "99" * 32)), 4),
        (lambda lines: lines.reverse(), 1),
        (lambda lines: lines.pop(0), 1),
    ],
    ids=["out", "in", "changed", "order", "first"],
)
def test_what_was_done_to_it_is_found(lines: list[str], spoil: Callable[[list[str]], None], at: int) -> None:
    spoil(lines)
    assert broken(lines) == at


def test_half_a_line_of_who_died_is_a_line_that_the_next_one_names(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"half')
    Chained(tmp_path / "log").add(did="signed")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first == '{"half'
    assert json.loads(second)["before"] != FIRST


def test_every_line_goes_to_the_journal_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Chained(tmp_path / "log").add(did="signed", key="qlvb")
    assert capsys.readouterr().out == (tmp_path / "log").read_text()
