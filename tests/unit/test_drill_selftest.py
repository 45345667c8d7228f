"""Drills are tried with faults (T-B11): one that is not found, or not for its reason, is told; all are taken out."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qhs.drill import held
from qhs.drill.actions import UnmetError
from qhs.drill.ground import Ground
from qhs.drill.holding import bench as bench_of
from qhs.drill.journal import Began, Begun, Journal
from qhs.drill.known import ESTATE
from qhs.drill.plan import Script, names, of
from qhs.drill.plan import read as read_plan
from qhs.drill.report import DrillReport, report
from qhs.drill.runner import Runner
from qhs.drill.seal import Sealed, seal
from qhs.drill.selftest import faults
from qhs.drill.selftest.deeds import FOLDER, MARK, Cut, Dark, Deed, Half, Mark, Ran, Writing
from qhs.drill.selftest.faults import Client, Cuts, Fault, PowersOff, Runs
from qhs.drill.selftest.trial import Bench, Outcome, Selftest
from qhs.drill.selftest.ways import PROGRAM, TwinWays
from qhs.drill.written import Gap, Written
from qhs.errors import UserError
from qhs.main import app
from qhs.progress import silent
from qhs.twin.names import Twin
from stacks.model import Estate, ModelError
from stacks.model.signing import BODY, RECORD
from tests.unit.image_notary import Office
from tests.unit.test_drill_asking import WELL
from tests.unit.toy_drill import PLAN, TIERS, TOY, Fuse, Toy, began

SUBJECT = f"{RECORD}/{BODY}"
QUICK = PLAN.replace("within: 6", "within: 1")


class Writes(Toy):
    """A toy whose client has written for the time that it is asked about."""

    def stop(self) -> Written:
        if self.read("client") != "writes":
            raise UnmetError("nobody writes")
        self.write("client", "ended")
        now = datetime.now(UTC)
        return Written(rows=10, gap=Gap(after=now, until=now, over=True))


@dataclass
class ToyWays:
    """A fault is a file; what undoes it takes one away."""

    folder: Path
    dies: bool = False
    stays: bool = False
    log: list[str] = field(default_factory=list)

    def meant(self, inject: Runs | Cuts | PowersOff | Client, began: Began) -> Deed:
        match inject:
            case Runs():
                return Ran(machines=["toy"], does=inject.does, undoes=inject.undoes)
            case Client():
                return Writing(site=began.new, how=inject.how)
        raise AssertionError(inject)

    def do(self, deed: Deed) -> None:
        match deed:
            case Ran():
                (self.folder / deed.does).write_text("yes")
            case Writing(how="ended"):
                (self.folder / "client").write_text("ended")
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)

    def undo(self, deed: Deed) -> None:
        self.log.append(deed.kind)
        if self.stays:
            raise UserError("found it stuck", "by hand")
        if isinstance(deed, Ran) and deed.undoes:
            (self.folder / deed.undoes).unlink(missing_ok=True)


@dataclass
class Place:
    """A toy estate with a bench."""

    folder: Path
    office: Office
    ways: ToyWays

    def began(self, script: Script) -> Began:
        old = Toy(self.folder, Fuse()).chosen
        return began(script.text).model_copy(
            update={"name": script.name, "old": old, "new": "old" if old == "new" else "new"}
        )

    def runner(self, script: Script, journal: Journal) -> Runner[Toy]:
        own = journal.began
        toy = Writes(self.folder, Fuse(), own.old, own.new)
        return Runner(script.plan, TOY, toy, toy, journal, silent)

    def move(self, script: Script) -> tuple[Journal, Sealed]:
        folder = held.folder(Twin("one")) / f"{time.monotonic_ns()}-{script.name}"  # several within a second
        journal = Journal.begin(folder, script.digest, self.began(script))
        self.runner(script, journal).run()
        return journal, Sealed(report=report(journal), seal=None)

    def sign(self, made: DrillReport) -> Sealed:
        away = (self.folder / "away").exists()
        return Sealed(report=made, seal=None) if away else seal(made, self.office.sign)

    def bench(self) -> Bench[Toy]:
        def read(name: str, text: str) -> Script:
            return of(name, text, TOY, TIERS, Path(f"{name}.yaml"))

        return Bench(
            twin=Twin("one"), scripts={one: read(one, QUICK) for one in ("trial", "other")}, read=read,
            begins=self.began, runner=self.runner, move=self.move, sign=self.sign,
            trust=lambda: self.office.trust(subject=SUBJECT), ways=self.ways, progress=silent,
            writes=0.01, patience=1.5,
        )  # fmt: skip

    def files(self) -> set[str]:
        """What is otherwise than it was."""
        return {one.name for one in self.folder.iterdir()} - {"client", "chosen", "power-old", "power-new"}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"), SUBJECT, "duty")


@pytest.fixture
def place(tmp_path: Path, office: Office, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "toy"
    folder.mkdir()
    return Place(folder, office, ToyWays(folder))


def fault(by: str, says: str, *inject: dict[str, object], at: str = "", writing: bool = False) -> Fault:
    title = {"vi": "Lỗi", "en": "Fault"}
    red = {"by": by, "at": at, "says": says}
    return Fault.model_validate({"title": title, "drill": "trial", "inject": inject, "writing": writing, "red": red})


def runs(does: str, undoes: str | None = None) -> dict[str, object]:
    return {"kind": "runs", "on": "old-leader", "does": does, "undoes": does if undoes is None else undoes}


def tried(place: Place, one: Fault) -> Outcome:
    (outcome,) = Selftest(place.bench(), {"one": one}).run()
    return outcome


REFUSES = fault("condition", "found refuses", runs("refuses"), at="ask")
FOUND = {
    "condition": (REFUSES, "nothing was touched"),
    "plan": (
        fault("plan", "dark, which changes something and has no way back", {"kind": "no-way-back", "step": "dark"}),
        "nothing was touched",
    ),
    "half-way": (
        fault("half-way", "-other is half-way", {"kind": "half-way", "drill": "other"}), "nothing was touched",
    ),
    "client": (
        fault("client", "no record .*: nobody writes", {"kind": "client", "how": "ended"}, writing=True),
        "old takes writes",
    ),
    "unsigned": (fault("report", "found no signature", runs("away")), "nothing was touched"),
    "byte": (
        fault("report", "not of its certificate's key", {"kind": "report", "how": "byte"}), "nothing was touched",
    ),
    "entry": (fault("report", "entry 2: found it after", {"kind": "report", "how": "entry"}), "nothing was touched"),
    "undone": (fault("step", "found stuck", runs("stuck"), at="active"), "old takes writes"),
    "kept": (fault("step", "found differs", runs("differs"), at="same"), "new takes writes"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_a_fault_that_turns_its_drill_red_for_its_reason_is_found_and_taken_out(name: str, place: Place) -> None:
    one, safe = FOUND[name]
    outcome = tried(place, one)
    assert (outcome.passed, outcome.safe, outcome.left) == (True, safe, ""), outcome
    assert Toy(place.folder, Fuse()).primary == "old"
    assert place.files() == set()
    assert not (held.folder(Twin("one")) / FOLDER / MARK).exists()
    assert held.unfinished(Twin("one")) is None


NOT_FOUND = {
    "condition": fault("condition", "found refuses", runs("unheard-of"), at="ask"),
    "plan": fault("plan", "bright", {"kind": "leaves-out", "step": "bright"}),
    "client": fault("client", "no record", runs("unheard-of"), writing=True),
    "report": fault("report", "no signature", runs("unheard-of")),
    "step": fault("step", "found stuck", runs("unheard-of"), at="active"),
}


@pytest.mark.parametrize("name", NOT_FOUND)
def test_a_fault_that_turns_nothing_red_is_told(name: str, place: Place) -> None:
    outcome = tried(place, NOT_FOUND[name])
    assert (outcome.passed, outcome.found, outcome.left) == (False, [], "")
    assert Toy(place.folder, Fuse()).primary == "old", "what moved is brought back"


WRONG_REASON = {
    "says": fault("condition", "found another", runs("refuses"), at="ask"),
    "at": fault("condition", "found refuses", runs("refuses"), at="other"),
    "by": fault("client", "found refuses", runs("refuses")),
    "step": fault("step", "found stuck", runs("stuck"), at="same"),
}


@pytest.mark.parametrize("name", WRONG_REASON)
def test_red_for_another_reason_is_not_found(name: str, place: Place) -> None:
    outcome = tried(place, WRONG_REASON[name])
    assert outcome.found
    assert not outcome.passed


def test_what_is_wrong_without_the_fault_is_not_its_doing(place: Place) -> None:
    """A rehearsal does no step, and says so."""
    outcome = tried(place, fault("client", "not done: dark", runs("unheard-of")))
    assert (outcome.passed, outcome.found) == (False, [])


def test_a_state_that_is_not_shown_to_be_safe_is_no_pass(place: Place) -> None:
    """The way back fails too: no site takes writes at the end."""
    outcome = tried(place, fault("step", "found stuck", runs("stuck"), runs("no-power"), at="active"))
    assert (outcome.safe, outcome.passed) == ("", False)
    assert any("found stuck" in one.says for one in outcome.found)


def test_nothing_is_tried_on_an_estate_that_is_not_well(place: Place) -> None:
    (place.folder / "refuses").write_text("yes")
    outcome = tried(place, REFUSES)
    assert not outcome.passed
    assert "could not be tried: without any fault trial is refused, nothing was touched: found refuses" in outcome.left


def test_no_report_is_tried_where_a_good_one_is_not_signed(place: Place) -> None:
    (place.folder / "away").write_text("yes")
    outcome = tried(place, FOUND["byte"][0])
    assert not outcome.passed
    assert "could not be tried: without any fault the report is wrong: found no signature" in outcome.left


def test_after_a_fault_that_left_something_the_next_one_is_not_tried(place: Place) -> None:
    stays = fault("condition", "found refuses", runs("refuses", undoes=""), at="ask")
    first, second = Selftest(place.bench(), {"one": stays, "two": REFUSES}).run()
    assert first.left
    assert "without any fault trial is refused" in second.left


def test_an_estate_that_is_not_well_again_is_told(place: Place) -> None:
    outcome = tried(place, fault("condition", "found refuses", runs("refuses", undoes=""), at="ask"))
    assert not outcome.passed
    assert outcome.left.startswith("2 s after the fault was taken out: found refuses")


def dies(place: Place) -> None:
    place.ways.dies = True
    child = multiprocessing.get_context("fork").Process(target=tried, args=(place, REFUSES))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    place.ways.dies = False


def test_a_fault_of_a_run_that_was_killed_is_taken_out_by_the_next_one(place: Place) -> None:
    dies(place)
    assert place.files() == {"refuses"}
    assert tried(place, FOUND["client"][0]).passed
    assert place.files() == set()


def test_a_fault_that_cannot_be_taken_out_is_told_and_kept_in_mind(place: Place) -> None:
    place.ways.stays = True
    with pytest.raises(UserError, match=r"the fault one of .* is still in .*: found it stuck\n.*then the next drill"):
        tried(place, REFUSES)
    place.ways.stays = False
    place.bench().heal()
    assert place.files() == set()


def test_what_was_done_last_is_undone_first(place: Place) -> None:
    """The client's record is read from databases, which a fault may keep it from."""
    tried(place, fault("client", "no record", runs("x")))
    assert place.ways.log[-2:] == ["ran", "writing"]


def test_none_is_put_in_while_a_drill_is_half_way(place: Place) -> None:
    bench = place.bench()
    journal = Journal.begin(
        held.folder(Twin("one")) / "20261130T010203-trial", bench.scripts["trial"].digest, began(QUICK)
    )
    journal.note(Begun(step="dark"))
    with pytest.raises(UserError, match="20261130T010203-trial is half-way"):
        tried(place, REFUSES)


def test_a_drill_takes_out_what_a_killed_selftest_left(place: Place) -> None:
    drills = held.folder(Twin("one"))
    bench = place.bench()
    folder = drills / "20261130T010203-other"
    Journal.begin(folder, bench.scripts["other"].digest, began(QUICK))
    Mark(fault="half-way", deeds=[Half(run=folder.name)]).write(drills)
    said = CliRunner().invoke(app, ["drill", "switchover"], env={"QHS_TWIN": "one"})
    assert said.exit_code == 1
    assert not folder.exists()
    assert not (drills / FOLDER / MARK).exists()


@pytest.fixture(scope="module")
def plans(estate: Estate) -> dict[str, Script]:
    return {name: read_plan(name, ESTATE, estate.catalogue.tiers) for name in names()}


def test_there_are_faults_enough_of_every_kind(plans: dict[str, Script]) -> None:
    known = faults.read(plans)
    assert len(known) >= 12
    assert {one.red.by for one in known.values()} == {"plan", "half-way", "condition", "client", "report", "step"}
    assert [*known][-1] == "names-kept", "what moves writes comes last"


def test_plans_with_a_fault_are_refused_for_its_reason(plans: dict[str, Script], estate: Estate, own: Path) -> None:
    known = {name: one for name, one in faults.read(plans).items() if one.red.by == "plan"}
    held.folder(Twin("one")).mkdir(parents=True, exist_ok=True)
    assert {one.fault for one in Selftest(bench_of(estate, Twin("one")), known).run() if one.passed} == known.keys()


MEANT: dict[str, list[object]] = {
    "stopped-replication": [["ndc-db1"]],
    "stale-copy": [["qhdc-db1"], ["ndc-db1"], ["qhdc-db1"], ["ndc-db1"]],
    "blind-third-site": ["hall"],
    "blind-outside": ["ndc-edge1:dmz-public"],
    "dead-copy": ["ndc-db2"],
    "client-refused": [["qhdc-db1"]],
    "client-dies": ["ndc"],
    "no-record": ["ndc"],
    "lost-row": [["qhdc-db1"]],
    "unsigned-report": [["qhdc-hsm1", "qhdc-hsm2", "ndc-hsm1", "ndc-hsm2"]],
    "names-kept": [["hall-infra1"]],
}
"""On which machines, wires or site."""


def test_faults_are_put_into_the_machines_that_are_meant(
    plans: dict[str, Script], estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Ground, "databases", lambda own, *sites: {one: WELL[one] for site in sites for one in own.machines(site)}
    )
    ways, found = TwinWays(estate, Twin("one")), {}
    begins = began().model_copy(update={"old": "qhdc", "new": "ndc"})
    for name, one in faults.read(plans).items():
        deeds = [ways.meant(it, begins) for it in one.inject if isinstance(it, Runs | Cuts | PowersOff | Client)]
        for deed in deeds:
            match deed:
                case Ran():
                    found.setdefault(name, []).append(deed.machines)
                    assert "{" not in deed.does + deed.undoes
                    for text in (deed.does, deed.undoes):
                        assert subprocess.run(["sh", "-n", "-c", text], check=False).returncode == 0, text
                case Cut():
                    found.setdefault(name, []).append(deed.wires)
                case Dark():
                    found.setdefault(name, []).append(deed.machine)
                case Writing():
                    found.setdefault(name, []).append(deed.site)
    assert found == MEANT


def test_a_command_is_told_to_a_machine_as_it_is_written(tmp_path: Path) -> None:
    text = f"""printf '%s' "it's" >{tmp_path}/said; false; printf never >{tmp_path}/said"""
    done = subprocess.run([sys.executable, "-I", "-"], input=PROGRAM.format(text=text), text=True, check=False)
    assert (done.returncode, (tmp_path / "said").read_text()) == (1, "it's")


UNKNOWN = {
    "drill": ("drill: failover", "drill: fallover", "found fallover; wanted one of failback, failover, restore"),
    "step": ("step: fence", "step: fences", "found fences; wanted a step: disaster, gone"),
    "back": ("way-back, step: choose", "way-back, step: active", "found active; wanted a step with a way back: choose"),
    "condition": ("condition: room", "condition: rooms", "found rooms; wanted a condition with a limit: clocks-agree"),
    "at": ("at: lag-within", "at: lag", "found condition 'lag'; wanted one of both-sites-answer"),
    "half": ("half-way, drill: switchover", "half-way, drill: switch", "found switch; wanted one of failback"),
    "pattern": ("says: nothing was", "says: (nothing was", "a pattern"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_fault_of_what_no_plan_has_is_refused(name: str, plans: dict[str, Script], tmp_path: Path) -> None:
    before, after, said = UNKNOWN[name]
    text, file = faults.FILE.read_text(), tmp_path / "faults.yaml"
    assert before in text
    file.write_text(text.replace(before, after, 1))
    with pytest.raises(ModelError) as error:
        faults.read(plans, file)
    assert said in str(error.value)


def test_an_unknown_fault_is_refused_with_those_that_there_are(own: Path) -> None:
    said = CliRunner().invoke(app, ["drill", "selftest", "--only", "luck"], env={"QHS_TWIN": "one"})
    assert isinstance(said.exception, UserError) or said.exit_code == 1
    assert "skipped-fence, undecided" in str(said.exception) + said.output
