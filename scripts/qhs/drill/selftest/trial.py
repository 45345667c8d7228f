"""Tries faults, one after the other: what each turns red, whether the estate stays safe, and is well again.

Most are found before anything is touched: then no step is done. What a fault changed is undone whatever came of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from qhs import whole
from qhs.containers.signature import Trust
from qhs.drill import held, seal
from qhs.drill.journal import Began, Begun, Ended, Failed, Journal, Refused
from qhs.drill.plan import Plan, Script
from qhs.drill.report import DrillReport, report
from qhs.drill.runner import Runner
from qhs.drill.seal import ReportError, Sealed
from qhs.drill.selftest.deeds import FOLDER, Deed, Half, Mark, Ways, Writing, heal
from qhs.drill.selftest.faults import Client, Cuts, Fault, HalfWay, PowersOff, Red, Report, Runs, Wanted
from qhs.errors import UserError
from qhs.progress import Progress
from qhs.twin.names import Twin
from stacks.model import ModelError
from stacks.model.catalogue import Strict, Title

UNTOUCHED = "nothing was touched"
CONTROL = "control"
"""What a run without a fault is called: what is wrong there is no fault's doing."""


class Outcome(Strict):
    """What became of a fault."""

    fault: str
    title: Title
    drill: str
    wanted: Wanted
    found: list[Red]
    safe: str
    """In which state the drill left the estate; empty: not shown to be a safe one."""
    left: str
    """Why the estate is not well again; empty: it is."""
    seconds: float
    passed: bool
    """Red for its reason, safe, and well again."""


def right(wanted: Wanted, found: list[Red]) -> list[Red]:
    """What was found for the reason that is wanted."""
    alike = (one for one in found if (one.by, one.at) == (wanted.by, wanted.at))
    return [one for one in alike if re.search(wanted.says, one.says)]


class _NotRefusedError(Exception):
    """A drill may begin that must not."""


@dataclass(frozen=True)
class Bench[C]:
    """What drills are tried on."""

    twin: Twin
    scripts: Mapping[str, Script]
    read: Callable[[str, str], Script]
    """A plan by its name and text. Raises ModelError."""
    begins: Callable[[Script], Began]
    runner: Callable[[Script, Journal], Runner[C]]
    move: Callable[[Script], tuple[Journal, Sealed]]
    """Carries a drill out."""
    sign: Callable[[DrillReport], Sealed]
    trust: Callable[[], Trust]
    ways: Ways
    progress: Progress
    writes: float = 5
    """Seconds for which the client writes before a fault, and after it: longer than any answer may take."""
    patience: float = 300
    """Seconds until an estate that a fault was taken out of is well again."""

    @property
    def drills(self) -> Path:
        """The folder of drills."""
        return held.folder(self.twin)

    def heal(self) -> None:
        """Take out the fault that is in, whoever put it in. Raises UserError."""
        heal(self.drills, self.ways, self.progress)


@dataclass
class Selftest[C]:
    """Of some faults."""

    bench: Bench[C]
    faults: Mapping[str, Fault]
    _controls: dict[str, DrillReport] = field(default_factory=dict)
    _well: set[str] = field(default_factory=set)

    def run(self) -> Iterator[Outcome]:
        """Each. Raises UserError where the estate is not well without any, or one cannot be taken out."""
        self.bench.heal()
        if half := held.unfinished(self.bench.twin):
            raise UserError(
                f"the drill {half.folder.name} is half-way; wanted it over before any fault is put in",
                f"`qhs drill {half.began.name}` goes on with it, with --back it is undone",
            )
        for number, (name, fault) in enumerate(self.faults.items(), 1):
            self.bench.progress(f"fault {number} of {len(self.faults)}: {name}: {fault.title.en}")
            outcome = self._outcome(name, fault)
            self.bench.progress(f"{name}: {'PASS' if outcome.passed else 'FAIL'}")
            yield outcome

    def _outcome(self, name: str, fault: Fault) -> Outcome:
        began = time.monotonic()
        trial = _Trial(self, name, fault)
        try:
            trial.run()
        except UserError as error:
            trial.left = f"it could not be tried: {error}"
        finally:
            self.bench.heal()
        if trial.mended and not trial.left:
            trial.left = trial.well_again()
        if trial.left:
            self._well.clear()
        return Outcome(
            fault=name,
            title=fault.title,
            drill=fault.drill,
            wanted=fault.red,
            found=trial.found,
            safe=trial.safe,
            left=trial.left,
            seconds=round(time.monotonic() - began, 1),
            passed=bool(right(fault.red, trial.found) and trial.safe and not trial.left),
        )

    def control(self, drill: str) -> DrillReport:
        """What a drill without its steps comes to where nothing is wrong. Raises UserError where something is."""
        if drill not in self._controls:
            script = self.bench.scripts[drill]
            journal = self.begin(CONTROL, script)
            Mark(fault=CONTROL, deeds=[Writing(site=journal.began.new)]).write(self.bench.drills)
            try:
                self.bench.runner(script, journal).rehearse(lambda: time.sleep(self.bench.writes))
            finally:
                self.bench.heal()
            self._controls[drill] = _held(journal)
            self._well.add(drill)
        return self._controls[drill]

    def well(self, drill: str) -> None:
        """Raises UserError where a drill would be refused without any fault."""
        if drill not in self._well:
            script = self.bench.scripts[drill]
            journal = self.begin(CONTROL, script)
            self.bench.runner(script, journal).holds()
            _held(journal)
            self._well.add(drill)

    def begin(self, name: str, script: Script) -> Journal:
        """The journal of a drill that moves nothing; it lies where no drill looks for one to go on with."""
        folder = self.bench.drills / FOLDER / f"{_now()}-{name}"
        return Journal.begin(folder, script.digest, self.bench.begins(script))


@dataclass
class _Trial[C]:
    """One fault."""

    of: Selftest[C]
    name: str
    fault: Fault
    found: list[Red] = field(default_factory=list)
    safe: str = ""
    left: str = ""
    mended: bool = False
    """Whether anything was otherwise."""
    moved: bool = False
    """Whether writes are taken at the other site now."""

    @property
    def bench(self) -> Bench[C]:
        return self.of.bench

    def run(self) -> None:
        """Until it is found, or is not. Raises UserError."""
        plain = self.bench.scripts[self.fault.drill]
        self.safe = UNTOUCHED
        try:
            script = self.bench.read(self.fault.drill, self.fault.edited(plain.text))
        except ModelError as error:
            self.found = [Red(by="plan", says=str(one)) for one in error.findings]
            return
        match self.fault.red.by:
            case "plan":
                return
            case "half-way":
                self._refused(script)
            case "condition":
                self._asked(script)
            case "client":
                self._rehearsed(script)
            case "report":
                self._judged(script)
            case "step":
                self._carried_out(script)

    def _refused(self, script: Script) -> None:
        def begins() -> Began:
            raise _NotRefusedError

        self._put_in(self.bench.begins(script))
        try:
            held.opened(self.bench.twin, script, False, begins)
        except UserError as error:
            self.found = [Red(by="half-way", says=str(error))]
        except _NotRefusedError:
            return

    def _asked(self, script: Script) -> None:
        self.of.well(self.fault.drill)
        journal = self.of.begin(self.name, script)
        self._put_in(journal.began)
        self.bench.runner(script, journal).holds()
        self.found = [*_reds(script.plan, journal)]

    def _rehearsed(self, script: Script) -> None:
        before = set(self.of.control(self.fault.drill).faults)
        journal = self.of.begin(self.name, script)
        deeds = self._note(journal.began, Writing(site=journal.began.new))
        if not self.fault.writing:
            self._do(deeds)

        def meanwhile() -> None:
            time.sleep(self.bench.writes)
            if self.fault.writing:
                self._do(deeds)
            time.sleep(self.bench.writes)

        self.bench.runner(script, journal).rehearse(meanwhile)
        made = report(journal)
        self.found = [*_reds(script.plan, journal)]
        if any(journal.events(Ended)):
            self.found += [Red(by="client", says=one) for one in made.faults if one not in before]
            self.safe = f"{made.primary} takes writes" if made.primary else ""

    def _judged(self, script: Script) -> None:
        good = self.bench.sign(self.of.control(self.fault.drill))
        trust = self.bench.trust()
        if wrong := [*seal.wrong(good, trust)]:
            raise UserError(f"without any fault the report is wrong: {'; '.join(wrong)}", "`qhs hsm list`")
        self._put_in(self.bench.begins(script))
        file = self.bench.drills / FOLDER / f"{_now()}-{self.name}.json"
        whole.write(file, self._changed(good))
        try:
            said = [*seal.wrong(Sealed.read(file), trust)]
        except ReportError as error:
            said = [str(error)]
        self.found = [Red(by="report", says=one) for one in said]

    def _carried_out(self, script: Script) -> None:
        self.of.well(self.fault.drill)
        self._put_in(self.bench.begins(script))
        journal, sealed = self.bench.move(script)
        self.found = [*_reds(script.plan, journal)]
        if any(journal.events(Begun)):
            self.safe = f"{sealed.report.primary} takes writes" if sealed.report.primary else ""
        self.moved = sealed.report.primary == journal.began.new

    def well_again(self) -> str:
        """Why the estate is not as it was before, after it was waited for; empty: it is."""
        script, end = self.bench.scripts[self.fault.drill], time.monotonic() + self.bench.patience
        while why := self._not_well(script):
            if time.monotonic() > end:
                stays = "; writes stay where they were moved to" if self.moved else ""
                return f"{self.bench.patience:.0f} s after the fault was taken out: {why}{stays}"
        if not self.moved:
            return ""
        _, sealed = self.bench.move(script)
        return "" if sealed.report.passed else f"back again: {'; '.join(sealed.report.faults)}"

    def _not_well(self, script: Script) -> str:
        try:
            journal = self.of.begin("well-again", script)
        except UserError as error:
            time.sleep(1)
            return str(error)
        self.bench.runner(script, journal).holds()
        return "; ".join(one.says for one in _reds(script.plan, journal))

    def _put_in(self, began: Began) -> None:
        self._do(self._note(began))

    def _note(self, began: Began, *more: Deed) -> list[Deed]:
        """What is to be done, noted before any of it is; `more` comes about by itself."""
        deeds = [self._meant(one, began) for one in self.fault.inject if isinstance(one, _ON_THE_ESTATE)]
        if deeds or more:
            self.mended = True
            Mark(fault=self.name, deeds=[*more, *deeds]).write(self.bench.drills)
        return deeds

    def _meant(self, inject: HalfWay | Runs | Cuts | PowersOff | Client, began: Began) -> Deed:
        if isinstance(inject, HalfWay):
            return Half(run=f"{_now()}-{inject.drill}")
        return self.bench.ways.meant(inject, began)

    def _do(self, deeds: list[Deed]) -> None:
        for deed in deeds:
            if isinstance(deed, Half):
                script = self.bench.scripts[next(one.drill for one in self.fault.inject if isinstance(one, HalfWay))]
                Journal.begin(self.bench.drills / deed.run, script.digest, self.bench.begins(script))
            else:
                self.bench.ways.do(deed)

    def _changed(self, good: Sealed) -> str:
        """The report as the fault has it: changed, or signed once more."""
        how = next((one.how for one in self.fault.inject if isinstance(one, Report)), None)
        if how == "byte":
            text = good.text()
            at = text.index('"commit": "') + len('"commit": "')
            return text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
        if how == "entry":
            entries = good.report.journal
            return self.bench.sign(good.report.model_copy(update={"journal": [entries[0], *entries[2:]]})).text()
        return self.bench.sign(good.report).text()


_ON_THE_ESTATE = (HalfWay, Runs, Cuts, PowersOff, Client)


def _held(journal: Journal) -> DrillReport:
    """Raises UserError where it was refused."""
    made = report(journal)
    if any(journal.events(Refused)):
        raise UserError(
            f"without any fault {made.drill} is {made.faults[0]}",
            "put that right first: a drill that is red already shows nothing of a fault",
        )
    return made


def _reds(plan: Plan, journal: Journal) -> Iterator[Red]:
    """Why it was refused, or failed."""
    for refused in journal.events(Refused):
        if refused.number < len(plan.conditions):
            yield Red(by="condition", at=plan.conditions[refused.number].do, says=refused.why)
        else:
            yield Red(by="client", says=refused.why)
    yield from (Red(by="step", at=one.step, says=one.why) for one in journal.events(Failed))


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
