"""An upgrade's decisions: what may be begun, what a closed gate leads to, and what a second run does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from qhs.cloud import upgrade as module
from qhs.cloud.gates import Gate, deployed, first_closed, led, nodes_ready
from qhs.cloud.store import PARTS, Snapshot
from qhs.cloud.upgrade import IMAGE, ControlPlane, UpgradeReport, line, order, refused, upgrade
from qhs.errors import UserError
from qhs.progress import silent
from qhs.twin.names import Twin

OLD, NEW = "1.35.4", "1.36.3"
MEMBERS = ("cp1", "cp2", "cp3")
ALL = tuple(order(MEMBERS))
NODES = {"app1": OLD}


class CutOff(BaseException):
    """The run ends here, as a killed one does."""


@dataclass
class Plane:
    """Three control planes that do as they are told."""

    twin: Twin = field(default_factory=lambda: Twin("any"))
    estate: Any = None
    members: tuple[str, ...] = MEMBERS
    chosen: dict[tuple[str, str], str] = field(default_factory=lambda: dict.fromkeys(ALL, IMAGE))
    running: dict[tuple[str, str], str] = field(default_factory=lambda: dict.fromkeys(ALL, OLD))
    broken: set[tuple[str, str, str]] = field(default_factory=set)
    """Machine, part and the version that it is not well as."""
    written_by: str = OLD
    """The newest version that the store knows."""
    snapshots: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    left: int = -1
    """Actions until the run is cut off."""
    site: str = "qhdc"

    @property
    def store(self) -> Plane:
        return self

    def act(self, what: str) -> None:
        if self.left == 0:
            raise CutOff
        self.left -= 1
        self.done.append(what)

    def version(self) -> str:
        return self.running["cp1", PARTS[0]]

    def kubelets(self) -> dict[str, str]:
        return NODES

    def used(self) -> dict[str, dict[str, str]]:
        return {one: {part: was for part in PARTS if (was := self.chosen[one, part]) != IMAGE} for one in MEMBERS}

    def built(self, *_: Any) -> None:
        return

    def bring(self, version: str, _: Any) -> None:
        self.act(f"bring {version}")

    def choose(self, machine: str, part: str, version: str) -> None:
        self.act(f"{machine} {part} {version}")
        self.chosen[machine, part] = version

    def restart(self, machine: str, part: str) -> None:
        self.act(f"restart {machine} {part}")
        self._start(machine, part)

    def _start(self, machine: str, part: str) -> None:
        version = self.running[machine, part] = {IMAGE: OLD}.get(chosen := self.chosen[machine, part], chosen)
        if part == PARTS[0]:
            self.written_by = max(self.written_by, version)
            assert version >= self.written_by, "an older API never runs on what a newer one wrote"

    def gates(self, versions: dict[tuple[str, str], str]) -> list[Gate]:
        return [Gate(f"{part} of {one}", partial(self._lacks, one, part, version))
                for (one, part), version in versions.items()]  # fmt: skip

    def _lacks(self, machine: str, part: str, version: str) -> str:
        found = self.running[machine, part]
        if (machine, part, found) in self.broken:
            return "it is not well"
        return "" if found == version else f"it runs {found}"

    def take(self) -> Snapshot:
        self.act("take")
        self.snapshots["s"] = self.written_by
        return Snapshot("cp1", "s", datetime.now(UTC), 7)

    def hold(self, snapshot: Snapshot) -> str:
        self.act("hold")
        self.snapshots[f"held-{snapshot.name}"] = self.snapshots[snapshot.name]
        return f"held-{snapshot.name}"

    def release(self) -> None:
        self.act("release")
        self.snapshots = {}

    def named(self, name: str) -> Snapshot:
        assert name in self.snapshots
        return Snapshot("cp1", name, datetime.now(UTC), 7)

    def give_back(self, snapshot: Snapshot, _: Any) -> None:
        self.act("give back")
        self.written_by = self.snapshots[snapshot.name]
        for one in ALL:
            self._start(*one)


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plane:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "first_closed", partial(first_closed, patience=0))
    monkeypatch.setattr(module.trust_access, "write", lambda *_: None)
    made = Plane()
    made.twin.state.mkdir(parents=True)
    return made


def run(plane: Plane, to: str = NEW) -> UpgradeReport:
    return upgrade(cast(ControlPlane, plane), to, silent)


def journals(plane: Plane) -> list[str]:
    return [path.name for path in plane.twin.upgrades.glob("*")]


def test_every_api_is_changed_before_anything_else_and_one_at_a_time(plane: Plane) -> None:
    report = run(plane)
    assert (report.outcome, report.runs, report.code, report.gate) == ("upgraded", NEW, 0, "")
    assert set(plane.running.values()) == {NEW}
    assert [(one.machine, one.part) for one in report.steps] == list(ALL)
    assert plane.done[:3] == ["take", "hold", f"bring {NEW}"], "there is a way back before anything is changed"
    assert [one for one in plane.done if one.startswith("restart")] == [f"restart {one} {part}" for one, part in ALL]
    assert (journals(plane), plane.snapshots) == ([], {})


@pytest.mark.parametrize("closed", ALL)
def test_a_gate_that_stays_closed_stops_it_there_and_all_is_as_before(plane: Plane, closed: tuple[str, str]) -> None:
    plane.broken = {(*closed, NEW)}
    report = run(plane)
    machine, part = closed
    assert (report.outcome, report.runs, report.code) == ("went back", OLD, 2)
    assert (report.gate, report.found) == (f"{part} of {machine}", "it is not well")
    assert [(one.machine, one.part) for one in report.steps] == list(ALL[: ALL.index(closed) + 1])
    assert (set(plane.running.values()), set(plane.chosen.values())) == ({OLD}, {IMAGE})
    assert plane.written_by == OLD
    assert journals(plane) == []
    assert f"gate {part} of {machine} stayed closed (it is not well): the programs of {OLD} run again" in line(report)


def test_what_was_brought_before_is_what_it_goes_back_to(plane: Plane) -> None:
    run(plane, "1.35.5")
    plane.broken = {("cp2", PARTS[2], NEW)}
    assert run(plane).runs == "1.35.5"
    assert set(plane.chosen.values()) == {"1.35.5"}


@pytest.mark.parametrize("broken", [set(), {("cp1", PARTS[2], NEW)}], ids=["well", "a gate that stays closed"])
def test_wherever_it_is_cut_off_a_second_run_ends_it(plane: Plane, broken: set[tuple[str, str, str]]) -> None:
    wanted = OLD if broken else NEW
    for number in actions(plane, broken):
        again = Plane(left=number, broken=broken)
        with pytest.raises(CutOff):
            run(again)
        again.left = -1
        assert run(again).runs == wanted, number
        assert set(again.running.values()) == {wanted}, number
        assert journals(again) == [], number


def actions(plane: Plane, broken: set[tuple[str, str, str]]) -> Iterator[int]:
    plane.broken = broken
    run(plane)
    return iter(range(len(plane.done)))


def test_where_a_gate_stays_closed_after_going_back_the_next_run_asks_again_and_keeps_what_was_put_right(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.broken = {("cp1", PARTS[1], NEW), ("cp1", PARTS[1], OLD)}
    assert_refused(plane, "all is well", NEW)
    plane.broken = {("cp1", PARTS[1], NEW)}
    failing = plane.give_back

    def give_back(snapshot: Snapshot, progress: Any) -> None:
        failing(snapshot, progress)
        plane.broken.add(("cp1", PARTS[1], OLD))

    monkeypatch.setattr(plane, "give_back", give_back)  # it breaks on the way
    assert_refused(plane, f"back on {OLD}, gate {PARTS[1]} of cp1 stays closed", NEW)
    assert_refused(plane, f"{OLD} -> {NEW} under way", "1.35.9")
    monkeypatch.setattr(plane, "give_back", failing)
    plane.broken = set()
    report = run(plane)
    assert (report.outcome, report.runs, report.gate) == ("went back", OLD, f"{PARTS[1]} of cp1")
    assert plane.done.count("give back") == 1


def test_where_the_store_is_not_given_back_the_next_run_tries_that_again(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.broken = {("cp1", PARTS[1], NEW)}
    with monkeypatch.context() as patch:
        patch.setattr(plane, "give_back", fails)
        assert_refused(plane, "the API does not come", NEW)
    assert run(plane).runs == OLD
    assert plane.done.count("give back") == 1


def fails(*_: Any) -> None:
    raise UserError("the API does not come", "none")


def test_one_that_is_cut_off_once_the_store_is_given_back_gives_none_back_again(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.broken = {("cp1", PARTS[1], NEW)}
    asked = plane.gates

    def gates(versions: dict[tuple[str, str], str]) -> list[Gate]:
        if "give back" in plane.done:
            raise CutOff
        return asked(versions)

    with monkeypatch.context() as patch:
        patch.setattr(plane, "gates", gates)
        with pytest.raises(CutOff):
            run(plane)
    assert run(plane).runs == OLD
    assert plane.done.count("give back") == 1


def assert_refused(plane: Plane, why: str, to: str) -> None:
    with pytest.raises(UserError, match=why):
        run(plane, to)


def test_nothing_is_begun_where_all_is_not_well(plane: Plane) -> None:
    plane.broken = {("cp3", PARTS[0], OLD)}
    assert_refused(plane, f"gate {PARTS[0]} of cp3: it is not well", NEW)
    assert (plane.done, journals(plane)) == ([], [])


def test_where_it_runs_that_version_nothing_is_done(plane: Plane) -> None:
    report = run(plane, OLD)
    assert (report.outcome, report.code, plane.done) == ("as wanted before", 0, [])


@pytest.mark.parametrize(
    ("now", "wanted", "agents", "why"),
    [
        (OLD, NEW, NODES, ""),
        (OLD, "1.35.9", NODES, ""),
        (OLD, OLD, NODES, ""),
        (OLD, "1.37.0", NODES, "more than one minor version"),
        (OLD, "2.36.0", NODES, "more than one minor version"),
        (OLD, "1.34.4", NODES, "is older than"),
        (OLD, NEW, {"app1": "1.33.0"}, ""),
        (OLD, NEW, {"app1": "1.32.9"}, "app1 has 1.32.9"),
        ("1.34.4", OLD, {"app1": NEW}, f"app1 has {NEW}"),
    ],
)
def test_by_one_minor_version_and_nodes_not_too_far(now: str, wanted: str, agents: dict[str, str], why: str) -> None:
    found = refused(now, wanted, agents)
    assert (why in found) if why else not found


def test_a_version_that_no_tool_has_names_those_that_there_are() -> None:
    plane = ControlPlane(cast(Any, None), Twin("any"), cast(Any, None))  # neither is asked
    with pytest.raises(UserError, match=rf"found 1\.2\.3; wanted a version that is built here: {OLD}, {NEW}"):
        plane.built("1.2.3", silent)


def test_a_gate_is_asked_until_it_passes_and_the_first_that_does_not_is_named() -> None:
    answers = iter(["not yet", ""])
    asked: list[str] = []

    def ask(name: str, say: Callable[[], str]) -> Gate:
        def told() -> str:
            asked.append(name)
            return say()

        return Gate(name, told)

    def silent_one() -> str:
        raise UserError("no answer", "none")

    gates = [ask("late", lambda: next(answers)), ask("gone", silent_one), ask("after", lambda: "")]
    assert first_closed(gates, patience=0.01) == ("gone", "no answer")
    assert asked[:2] == ["late", "late"]
    assert "after" not in asked


def test_every_node_has_to_be_ready() -> None:
    nodes = [node("app1", "True"), node("app2", "Unknown")]
    assert nodes_ready(nodes, {"app1"}) == ""
    assert nodes_ready(nodes, {"app1", "app2", "app3"}) == "not ready: app2, app3"


def node(name: str, ready: str) -> dict[str, Any]:
    conditions = [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("status", "fits"),
    [
        ({"observedGeneration": 2, "availableReplicas": 2}, True),
        ({"observedGeneration": 1, "availableReplicas": 2}, False),
        ({"observedGeneration": 2, "availableReplicas": 1}, False),
        ({}, False),
    ],
)
def test_a_deployment_is_as_declared_last_with_all_its_pods(status: dict[str, int], *, fits: bool) -> None:
    one = {"metadata": {"namespace": "n", "name": "d", "generation": 2}, "spec": {"replicas": 2}, "status": status}
    assert deployed([one]) == ("" if fits else "not available: n/d")


def test_a_lease_that_is_not_renewed_any_more_is_nobodys() -> None:
    def lease(name: str, renewed: str) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"holderIdentity": "cp1_x", "renewTime": renewed}}

    since = datetime(2026, 1, 1, tzinfo=UTC)
    late, early = "2026-01-01T00:00:02.000000Z", "2025-12-31T23:59:58.000000Z"
    assert led([lease(name, late) for name in PARTS[1:]], since) == ""
    assert led([lease(PARTS[1], late), lease(PARTS[2], early)], since) == f"nobody leads: {PARTS[2]}"
