"""The report of a drill: all that its journal says, and nothing else. The same journal gives the same bytes.

What lacks evidence has failed, whatever became of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue

from qhs.chain import Digest, broken
from qhs.drill.actions import Evidence
from qhs.drill.journal import (
    Begun,
    Done,
    Ended,
    Entry,
    Failed,
    Held,
    Journal,
    Kept,
    Objective,
    Recorded,
    Refused,
    Resumed,
    Undone,
)
from qhs.drill.plan import PHASES, Condition, Phase, Plan, Step
from qhs.drill.restored import RESTORE, Restored
from qhs.drill.written import Written
from stacks.model.catalogue import Strict, Title

LEAST = 0.001
"""Seconds: the least that a lost row counts for."""
SHOWN = 20
"""Numbers of rows in a line; all of them stand in `written`."""


class ConditionReport(Strict):
    """What was asked before anything was touched."""

    title: Title
    evidence: Evidence | None
    why: Annotated[str, Field(description="why it does not hold; empty: it does, or nobody asked")]


class StepReport(Strict):
    """A step: what it did and what shows it."""

    name: str
    title: Title
    phase: Phase | None
    state: Literal["not begun", "begun", "done", "failed"]
    undone: bool
    began: AwareDatetime | None
    ended: AwareDatetime | None
    within: float
    evidence: list[Evidence]
    faults: list[str]


class PhaseReport(Strict):
    """A part of the time in which a client's writes were not acknowledged."""

    name: str
    began: AwareDatetime
    ended: AwareDatetime
    seconds: float


class Measured(Objective):
    """An objective, and what was measured."""

    rto_measured: Annotated[
        float | None, Field(description="seconds without writes, or of a restore; null: nobody measured")
    ]
    rpo_measured: Annotated[
        float | None, Field(description="seconds of acknowledged writes that are lost, or before the point asked for")
    ]
    met: bool


class DrillReport(Strict):
    """What `qhs drill` signs."""

    schema_version: Literal[1] = 1
    run: str
    environment: str
    drill: str
    title: Title
    old: str
    new: str
    primary: Annotated[str, Field(description="the site that takes writes at the end; empty: it is not shown")]
    began: AwareDatetime
    ended: AwareDatetime
    resumed: int
    kept: Annotated[bool, Field(description="it failed after the new site had taken writes, which stays as it is")]
    commit: str
    versions: dict[str, str]
    conditions: list[ConditionReport]
    steps: list[StepReport]
    phases: list[PhaseReport]
    objectives: list[Measured]
    written: Written
    faults: list[str]
    passed: bool
    head: Digest
    journal: list[Entry]

    def text(self) -> str:
        """The one way in which it is written, and what is signed."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False, sort_keys=True) + "\n"

    @property
    def stays(self) -> bool:
        """Whether writes are taken where they were, and it is a restore that is measured."""
        return self._carried_out.begins == "stays"

    @property
    def place(self) -> str:
        """The site where all of it was done, where writes stay."""
        return self.old if self._carried_out.place == "old" else self.new

    @property
    def _carried_out(self) -> Plan:
        return Journal(Path(self.run), self.journal).began.carried_out

    def broken(self) -> Iterator[str]:
        """Where it does not follow from its own journal, or that is not whole."""
        journal = Journal(Path(self.run), self.journal)
        yield from broken(self.journal, hashlib.sha256(journal.began.plan.encode()).hexdigest())
        if report(journal) != self:
            yield "found a report that says something else than its journal; wanted what follows from that"


def report(journal: Journal) -> DrillReport:
    """Of a drill that is over, or not yet."""
    began = journal.began
    plan = began.carried_out
    written = next((one.written for one in journal.events(Recorded)), Written.none("the drill is not over"))
    steps = [_step(journal, one) for one in plan.steps]
    conditions = [_condition(journal, number, one) for number, one in enumerate(plan.conditions)]
    if plan.begins == "stays":
        objectives = [_restored(one, journal.found(plan, RESTORE)) for one in began.objectives]
    else:
        objectives = [_measured(one, written) for one in began.objectives]
    ended = next(journal.events(Ended), None)
    faults = [
        *_refusals(journal),
        *(f"{one.name}: {fault}" for one in steps for fault in one.faults),
        *(fault for fault in (ended.faults if ended else [])),
        *_missing(conditions, steps, written, ended),
        *_rows(written),
        *(_lost(written) if plan.begins == "stays" else []),
        *(_disturbed(written, plan.undisturbed) if plan.undisturbed else []),
        *_unmet(objectives, "until it was restored" if plan.begins == "stays" else "without writes"),
        *(["told to go back"] if any(one.back for one in journal.events(Resumed)) else []),
    ]
    return DrillReport(
        run=journal.folder.name,
        environment=began.environment,
        drill=began.name,
        title=plan.title,
        old=began.old,
        new=began.new,
        primary=_primary(ended),
        began=journal.entries[0].at,
        ended=journal.entries[-1].at,
        resumed=len([*journal.events(Resumed)]),
        kept=any(journal.events(Kept)),
        commit=began.commit,
        versions=began.versions,
        conditions=conditions,
        steps=steps,
        phases=_phases(steps, written),
        objectives=objectives,
        written=written,
        faults=faults,
        passed=not faults,
        head=journal.entries[-1].hash,
        journal=journal.entries,
    )


def _condition(journal: Journal, number: int, condition: Condition) -> ConditionReport:
    held = [one.evidence for one in journal.events(Held) if one.number == number]
    why = [one.why for one in journal.events(Refused) if one.number == number]
    return ConditionReport(title=condition.title, evidence=held[-1] if held else None, why="".join(why))


def _step(journal: Journal, step: Step) -> StepReport:
    own = [one for one in journal.entries if getattr(one.event, "step", "") == step.name]
    begun = [one.at for one in own if isinstance(one.event, Begun)]
    over = [one for one in own if isinstance(one.event, Done | Failed)]
    undone = [one.event for one in own if isinstance(one.event, Undone)]
    last = over[-1].event if over else None
    faults = [one.why for one in journal.events(Failed) if one.step == step.name]
    return StepReport(
        name=step.name,
        title=step.title,
        phase=step.phase,
        state="done" if isinstance(last, Done) else "failed" if last else "begun" if begun else "not begun",
        undone=bool(undone) and not undone[-1].faults,
        began=begun[0] if begun else None,
        ended=over[-1].at if over else None,
        within=step.within + sum(one.within for one in step.verify),
        evidence=[*(last.evidence if isinstance(last, Done) else []), *(e for one in undone for e in one.evidence)],
        faults=[*faults, *(f"going back: {fault}" for one in undone[-1:] for fault in one.faults)],
    )


def _phases(steps: list[StepReport], written: Written) -> list[PhaseReport]:
    """The longest time without an acknowledged row, cut where the steps of each phase were done.

    Their sum is that time, by construction: what is not done by the first write after it counts as nothing.
    """
    if not (gap := written.gap):
        return []
    phases, at = [], gap.after
    for name in PHASES:
        done = [one.ended for one in steps if one.phase == name and one.ended]
        if name == PHASES[-1]:
            end = gap.until
        elif done:
            end = min(max(at, *done), gap.until)
        else:
            continue
        seconds = round((end - at).total_seconds(), 3)
        phases.append(PhaseReport(name=name, began=at, ended=end, seconds=seconds))
        at = end
    return phases


def _measured(objective: Objective, written: Written) -> Measured:
    if written.missing:
        return Measured(**dict(objective), rto_measured=None, rpo_measured=None, met=False)
    rto = round(written.gap.seconds, 3) if written.gap else 0.0
    rpo = max(LEAST, round(written.lost_seconds, 3)) if written.lost else 0.0
    over = written.gap is None or written.gap.over
    met = over and rto <= objective.rto and rpo <= objective.rpo
    return Measured(**dict(objective), rto_measured=rto, rpo_measured=rpo, met=met)


def _restored(objective: Objective, found: Mapping[str, JsonValue]) -> Measured:
    """By what a restore found; nobody measured where there was none."""
    if not found:
        return Measured(**dict(objective), rto_measured=None, rpo_measured=None, met=False)
    restored = Restored.model_validate({name: found.get(name) for name in Restored.model_fields})
    rto, rpo = restored.restored_seconds, restored.short_seconds
    met = rto <= objective.rto and rpo <= objective.rpo
    return Measured(**dict(objective), rto_measured=rto, rpo_measured=rpo, met=met)


def _refusals(journal: Journal) -> Iterator[str]:
    for one in journal.events(Refused):
        yield f"refused, nothing was touched: {one.why}"


def _missing(
    conditions: list[ConditionReport], steps: list[StepReport], written: Written, ended: Ended | None
) -> Iterator[str]:
    """What nothing shows."""
    yield from (f"no evidence: {one.title.en}" for one in conditions if one.evidence is None)
    yield from (f"no evidence: {one.title.en}" for one in steps if one.state == "done" and not one.evidence)
    if undone := [one.name for one in steps if one.state != "done"]:
        yield f"not done: {', '.join(undone)}"
    if written.missing or not written.rows:
        yield f"no record of a client outside: {written.missing or 'it wrote nothing'}"
    if ended is None:
        yield "the drill is not over"
    elif not _primary(ended):
        yield "no evidence of which site takes writes at the end"


def _rows(written: Written) -> Iterator[str]:
    kinds = {"twice": written.duplicate, "in another order": written.reordered, "and nobody's": written.unknown}
    for what, rows in kinds.items():
        for client, numbers in rows.items():
            yield f"{len(numbers)} rows of {client} are there {what}: {', '.join(map(str, numbers[:SHOWN]))}"
    if written.gap and not written.gap.over:
        yield "nothing was written any more"


def _lost(written: Written) -> Iterator[str]:
    """Where writes stay none may be, whatever an application's tier may lose with a site."""
    for client, numbers in written.lost.items():
        yield f"{client}: found {len(numbers)} rows lost: {', '.join(map(str, numbers[:SHOWN]))}; wanted none"


def _disturbed(written: Written, most: float) -> Iterator[str]:
    """Of clients who should have noticed nothing."""
    for client, count in written.failed.items():
        yield f"{client}: found {count} tries that failed; wanted none: writes stay where they are"
    if written.gap and written.gap.seconds > most:
        yield f"found {written.gap.seconds:.3f} s between two rows of the client outside; wanted {most:g} s at most"


def _unmet(objectives: list[Measured], what: str) -> Iterator[str]:
    """Of those that anybody measured: what nobody did is missing, and said as that."""
    for tier in sorted({one.tier for one in objectives if not one.met and one.rto_measured is not None}):
        one = next(it for it in objectives if it.tier == tier)
        yield (
            f"tier {tier}: found {one.rto_measured} s {what} and {one.rpo_measured} s of writes lost; "
            f"wanted {one.rto:.0f} s and {one.rpo:.0f} s at most"
        )


def _primary(ended: Ended | None) -> str:
    """What the last question was answered with."""
    found = [one.facts["primary"] for one in (ended.evidence if ended else []) if "primary" in one.facts]
    return str(found[0]) if found else ""
