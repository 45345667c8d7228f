"""Who keeps the lease for a site, and its databases from writes without it, by a clock that the test sets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import qhs_lease_guard
from qhs_lease_guard import Keeper, Site, Told

from stacks.model import load


class Clock:
    """Of a machine; it goes on when it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(qhs_lease_guard, "UNTIL", tmp_path / "until")
    monkeypatch.setattr(qhs_lease_guard, "CHOSEN", tmp_path / "chosen")
    monkeypatch.setattr(qhs_lease_guard, "settings", lambda: {"site": "qhdc"})
    monkeypatch.setattr(qhs_lease_guard, "now", made)
    return made


HELD, NOT_HELD = Told(held=True, chosen="qhdc"), Told(held=False, chosen="qhdc")
ELSEWHERE = Told(held=False, chosen="ndc")


def slow(clock: Clock, answer: Told | None, seconds: float) -> Told:
    """What a door says after so many seconds."""
    clock.time += seconds
    if answer is None:
        raise OSError("timed out")
    return answer


def test_a_renewal_counts_from_before_it_was_asked_for(clock: Clock) -> None:
    Keeper(["a"], 10, lambda *_: slow(clock, HELD, 3), clock).renew()
    assert qhs_lease_guard.until() == 1010


@pytest.mark.parametrize("answer", [NOT_HELD, None])
def test_what_is_not_renewed_ends_when_it_was_to(clock: Clock, answer: Told | None) -> None:
    Keeper(["a"], 10, lambda *_: HELD, clock).renew()
    clock.time += 9
    Keeper(["a"], 10, lambda *_: slow(clock, answer, 0.5), clock).renew()
    assert qhs_lease_guard.until() == 1010


def test_who_does_not_answer_is_asked_last_from_then_on(clock: Clock) -> None:
    asked: list[str] = []

    def ask(door: str, *_: str) -> Told:
        asked.append(door)
        return slow(clock, None if door == "a" else HELD, 3 if door == "a" else 0)

    keeper = Keeper(["a", "b", "c"], 10, ask, clock)
    keeper.renew()
    assert qhs_lease_guard.until() == 1013, "the time that the first one took is not counted"
    keeper.renew()
    assert asked == ["a", "b", "b"]


def test_one_that_says_no_is_believed(clock: Clock) -> None:
    asked: list[str] = []

    def ask(door: str, *_: str) -> Told:
        asked.append(door)
        return NOT_HELD

    Keeper(["a", "b"], 10, ask, clock).renew()
    assert (asked, qhs_lease_guard.until()) == (["a"], 0)


@pytest.mark.parametrize(
    ("files", "takes"),
    [
        ({"postmaster.pid": f"{os.getpid()}\n/data\n"}, True),
        ({"postmaster.pid": f"{os.getpid()}\n/data\n", "standby.signal": ""}, False),
        ({"postmaster.pid": f"-{os.getpid()}\n"}, False),
        ({"postmaster.pid": f"{2**22 + 1}\n/data\n"}, False),
        ({"postmaster.pid": ""}, False),
        ({}, False),
    ],
)
def test_a_server_takes_writes_unless_it_is_gone_or_a_copy_or_mends_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], *, takes: bool
) -> None:
    monkeypatch.setattr(qhs_lease_guard, "CONTROL", "/bin/true")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert qhs_lease_guard.takes_writes(tmp_path) is takes


@pytest.mark.parametrize(("late", "writes", "stopped"), [(9.9, True, 0), (10, True, 1), (10, False, 0)])
def test_a_server_that_takes_writes_is_stopped_once_the_time_is_over(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, late: float, stopped: int, *, writes: bool
) -> None:
    ended: list[None] = []
    monkeypatch.setattr(qhs_lease_guard, "stop", lambda: ended.append(None))
    monkeypatch.setattr(qhs_lease_guard, "takes_writes", lambda: writes)
    Keeper(["a"], 10, lambda *_: HELD, clock).renew()
    clock.time += late
    assert qhs_lease_guard.mind(clock) is bool(stopped)
    assert len(ended) == stopped


def test_a_promotion_waits_for_the_lease_but_not_for_ever(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.time += seconds
        if clock.time == came:
            Keeper(["a"], 10, lambda *_: HELD, clock).renew()

    monkeypatch.setattr("time.sleep", sleep)
    came = 1005.0
    assert qhs_lease_guard.may()
    assert clock.time == came
    clock.time, came = 2000.0, 0
    assert not qhs_lease_guard.may()
    assert clock.time - 2000 <= qhs_lease_guard.WAITS + 1


def test_nobody_is_promoted_once_another_site_is_chosen(clock: Clock) -> None:
    keeper = Keeper(["a"], 10, lambda *_: HELD, clock)
    keeper.renew()
    assert qhs_lease_guard.may()
    keeper.ask = lambda *_: ELSEWHERE
    keeper.renew()
    assert qhs_lease_guard.until() > clock.time, "the server may end in order until then"
    assert not qhs_lease_guard.may()


class Machine:
    """What stands for a server and its Patroni, and what was asked and done."""

    def __init__(self, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes, self.minded = True, [7]
        self.done: list[str] = []
        monkeypatch.setattr(qhs_lease_guard, "takes_writes", lambda: self.writes)
        monkeypatch.setattr(qhs_lease_guard, "minders", lambda: self.minded)
        monkeypatch.setattr(qhs_lease_guard, "log_ends", lambda: "0/30")
        monkeypatch.setattr(qhs_lease_guard, "DATA", tmp_path)
        monkeypatch.setattr("os.kill", lambda process, _: self.done.append(f"end {process}"))
        self.follows = tmp_path / "follows"
        self.follows.write_text(f"#!/bin/sh\necho $1 $2 >> {tmp_path}/followed\n")
        self.follows.chmod(0o755)
        self.site = Site(Keeper(["a"], 10, self.ask, clock), "qhdc", [str(self.follows)])

    def ask(self, _: str, path: str, body: str) -> Told:
        self.done.append(f"{path} {body}")
        return ELSEWHERE

    @property
    def followed(self) -> list[str]:
        file = self.follows.with_name("followed")
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def machine(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(clock, tmp_path, monkeypatch)


def test_a_server_ends_in_order_before_the_lease_is_given_back(machine: Machine) -> None:
    assert machine.site.mind(HELD)
    assert machine.followed == ["qhdc"]
    assert not machine.site.mind(ELSEWHERE)
    assert machine.done == ["end 7"]
    machine.writes = False
    assert machine.site.mind(ELSEWHERE), "its Patroni is on its way out"
    assert machine.done == ["end 7", "/release 0/30"]
    assert machine.followed == ["qhdc", "ndc"]
    assert machine.site.mind(ELSEWHERE)
    assert machine.done == ["end 7", "/release 0/30"], "once"
    assert not qhs_lease_guard.UNTIL.exists()


def test_a_copy_says_so_at_once_and_of_no_log(machine: Machine, tmp_path: Path) -> None:
    machine.writes = False
    (tmp_path / "standby.signal").touch()
    assert machine.site.mind(ELSEWHERE)
    assert machine.done == ["/release "]


def test_a_server_that_is_down_may_be_started_by_a_patroni_that_was_told_nothing(machine: Machine) -> None:
    machine.writes = False
    assert not machine.site.mind(ELSEWHERE)
    assert machine.done == machine.followed == []
    machine.minded = []
    assert machine.site.mind(ELSEWHERE)
    assert machine.done == ["/release "]


def test_what_could_not_be_followed_is_tried_again(machine: Machine) -> None:
    machine.follows.write_text("#!/bin/sh\nexit 3\n")
    assert not machine.site.mind(HELD)
    machine.follows.unlink()
    assert not machine.site.mind(HELD)


def test_where_nobody_says_anything_nothing_changes(machine: Machine) -> None:
    assert machine.site.mind(None)
    assert machine.done == machine.followed == []


@pytest.mark.parametrize(
    ("said", "ends"),
    [("Latest checkpoint location:           0/3000028\n", "0/3000028"), ("no control file\n", "")],
)
def test_the_end_of_a_log_is_what_the_server_wrote_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, ends: str
) -> None:
    control = tmp_path / "control"
    control.write_text(f"#!/bin/sh\necho 'Database cluster state: shut down'\nprintf '{said}'\n")
    control.chmod(0o755)
    monkeypatch.setattr(qhs_lease_guard, "CONTROL", control)
    assert qhs_lease_guard.log_ends(tmp_path) == ends
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n/data\n")
    assert not qhs_lease_guard.takes_writes(tmp_path), "it only archives"


def test_root_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end the machine; here too, so nothing is killed whatever the program thinks."""
    killed: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, _: killed.append(pid))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(PermissionError, match="as root"):
        qhs_lease_guard.stop(Path("/nonexistent"))
    assert killed == []
    monkeypatch.setattr("os.geteuid", lambda: 102)
    qhs_lease_guard.stop(Path("/nonexistent"))
    assert killed == [-1]


def test_it_asks_where_the_door_is() -> None:
    assert [f"tcp/{qhs_lease_guard.PORT}"] == load("twin").catalogue.services["lease"].ports
