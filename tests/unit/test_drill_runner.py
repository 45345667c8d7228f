"""A plan is carried out to exactly one primary, wherever its run is killed and whatever fails (T-B21)."""

from __future__ import annotations

import multiprocessing
from itertools import count
from pathlib import Path

import pytest

from qhs.drill import held
from qhs.drill.journal import NAME, Begun, Ended, Failed, Journal, Kept, Recorded, Refused, Undone
from qhs.drill.report import report
from qhs.errors import UserError
from qhs.twin.names import Twin
from tests.unit.toy_drill import Fuse, Toy, began, dies, run, script

MOMENTS = 200
"""More than a run has."""


def standing(folder: Path) -> Toy:
    return Toy(folder, Fuse())


def test_a_drill_to_its_end(tmp_path: Path) -> None:
    journal = run(tmp_path)
    made = report(journal)
    assert (made.passed, made.faults, made.primary, made.kept) == (True, [], "new", False)
    assert [one.state for one in made.steps] == ["done"] * 5
    assert standing(tmp_path).power("old")
    assert [*made.broken()] == []


def test_killed_at_any_moment_it_goes_on_to_the_same_end(tmp_path: Path) -> None:
    for moment in count(1):
        folder = tmp_path / str(moment)
        folder.mkdir()
        if not dies(folder, moment):
            break
        journal = run(folder)
        made = report(journal)
        assert (made.faults, standing(folder).primary, standing(folder).power("old")) == ([], "new", True), moment
    assert 40 < moment < MOMENTS, "each action and each line is a moment"


def test_killed_at_any_moment_it_can_be_undone_until_the_new_site_has_taken_writes(tmp_path: Path) -> None:
    ends = set()
    for moment in count(1):
        folder = tmp_path / str(moment)
        folder.mkdir()
        if not dies(folder, moment):
            break
        kept = (folder / "run" / NAME).exists() and '"done","step":"active"' in (folder / "run" / NAME).read_text()
        if kept:
            with pytest.raises(UserError, match="may have taken writes"):
                run(folder, back=True)
        journal = run(folder, back=not kept)
        began_anew = not any(journal.events(Undone)) and not kept
        primary = standing(folder).primary
        assert primary == ("new" if kept or (began_anew and any(journal.events(Begun))) else "old"), moment
        ends.add(primary)
    assert ends == {"old", "new"}


def test_a_way_back_that_is_killed_is_gone_on_with(tmp_path: Path) -> None:
    for moment in count(1):
        folder = tmp_path / str(moment)
        folder.mkdir()
        standing(folder).write("stuck", "yes")
        if not dies(folder, moment):
            break
        journal = run(folder)
        assert standing(folder).primary == "old", moment
        assert standing(folder).power("old"), moment
        assert not report(journal).passed
    assert moment > 40


def test_what_fails_is_undone_in_reverse(tmp_path: Path) -> None:
    standing(tmp_path).write("stuck", "yes")
    journal = run(tmp_path)
    assert [one.step for one in journal.events(Undone)] == ["choose", "dark"]
    made = report(journal)
    assert (made.primary, made.passed) == ("old", False)
    assert "active: found stuck; wanted none\n  way out: none" in made.faults
    assert [one.state for one in made.steps] == ["done", "done", "failed", "not begun", "not begun"]


def test_what_fails_after_the_new_site_has_taken_writes_is_not_undone(tmp_path: Path) -> None:
    standing(tmp_path).write("differs", "yes")
    journal = run(tmp_path)
    assert not any(journal.events(Undone))
    assert any(journal.events(Kept))
    made = report(journal)
    assert (made.primary, made.kept, made.passed) == ("new", True, False)


def test_a_way_back_that_fails_is_no_end_of_the_way_back(tmp_path: Path) -> None:
    toy = standing(tmp_path)
    toy.write("stuck", "yes")
    toy.write("no-power", "yes")
    made = report(run(tmp_path))
    assert toy.chosen == "old"
    assert made.primary == ""
    assert "dark: going back: switch-on: found no-power; wanted none, within 6 s" in made.faults
    assert "no evidence of which site takes writes at the end" in made.faults


def test_a_condition_that_does_not_hold_refuses_it_before_anything_is_touched(tmp_path: Path) -> None:
    standing(tmp_path).write("refuses", "yes")
    journal = run(tmp_path)
    assert [one.why for one in journal.events(Refused)] == ["found refuses; wanted none, within 6 s"]
    assert not [*journal.events(Begun), *journal.events(Recorded), *journal.events(Ended), *journal.events(Failed)]
    assert {path.name for path in tmp_path.iterdir()} == {"run", "refuses"}
    assert report(journal).faults[0] == "refused, nothing was touched: found refuses; wanted none, within 6 s"


def test_no_record_of_a_client_fails_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "start", lambda _: None)
    made = report(run(tmp_path))
    assert (made.primary, made.passed) == ("new", False)
    assert made.faults == ["no record of a client outside: nobody writes"]
    assert [one.rto_measured for one in made.objectives] == [None]


def holds(twin: Twin, ready: multiprocessing.synchronize.Event, over: multiprocessing.synchronize.Event) -> None:
    with held.alone(twin):
        ready.set()
        over.wait(30)


def test_a_second_drill_at_once_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    fork = multiprocessing.get_context("fork")
    ready, over = fork.Event(), fork.Event()
    first = fork.Process(target=holds, args=(Twin("one"), ready, over))
    first.start()
    assert ready.wait(10)
    with pytest.raises(UserError, match=f"a drill of twin one is already running: pid {first.pid}"):
        held.alone(Twin("one")).__enter__()
    first.kill()
    first.join()
    with held.alone(Twin("one")):
        pass


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Twin:
    """A twin with a drill that has done one step."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    twin = Twin("one")
    held.folder(twin).mkdir(parents=True)
    journal = Journal.begin(held.folder(twin) / "20261130T010203-trial", script().digest, began())
    journal.note(Begun(step="dark"))
    return twin


def test_another_drill_is_refused_while_one_is_half_way(half: Twin) -> None:
    other = script().__class__("other", script().plan, script().text)
    with pytest.raises(UserError, match=r"20261130T010203-trial is half-way.*\n.*`qhs drill trial --back` undoes it"):
        held.opened(half, other, False, began)


def test_a_drill_is_gone_on_with_by_the_plan_that_it_began_with(half: Twin) -> None:
    """Whatever somebody has written into its file since."""
    changed = script(script().text.replace("within: 6", "within: 7"))
    journal = held.opened(half, changed, False, began)
    assert journal.began.carried_out == script().plan != changed.plan


def test_what_became_of_the_record_of_a_drill_that_is_over_holds_up_no_other(half: Twin) -> None:
    whole = Journal.begin(held.folder(half) / "20261130T000000-trial", script().digest, began())
    whole.note(Refused(number=0, why="no"))
    file = whole.folder / NAME
    file.write_text(file.read_text().replace('"environment":"twin"', '"environment":"prod"'))
    with pytest.raises(UserError, match="entry 1: found the hash"):
        Journal.read(whole.folder)
    found = held.unfinished(half)
    assert found is not None
    assert found.folder.name == "20261130T010203-trial"
    own = found.folder / NAME
    own.write_text(own.read_text().replace('"environment":"twin"', '"environment":"prod"'))
    with pytest.raises(UserError, match="entry 1: found the hash"):
        held.unfinished(half)


def test_there_is_nothing_to_undo_where_none_is_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="no drill is half-way"):
        held.opened(Twin("one"), script(), True, began)
