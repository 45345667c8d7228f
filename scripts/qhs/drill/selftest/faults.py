"""The faults that drills are tried with: `scripts/drills/selftest/faults.yaml`, read and checked against the plans."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field

from qhs.drill.plan import FOLDER, Name, Plan, Script
from stacks.model import ModelError
from stacks.model.catalogue import Strict, Title
from stacks.model.source import Finding, Source

FILE = FOLDER / "selftest" / "faults.yaml"
type On = Literal["old-leader", "new-leader", "new-follower", "third-resolver", "signers"]
"""Machines: the database that takes writes, the one that leads the copies, another copy of its site, the resolver of
the third site, and whatever signs at any centre."""
type Text = Annotated[str, Field(min_length=1)]


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"a pattern: {error}") from None
    return text


class LeavesOut(Strict):
    """The plan lacks a step."""

    kind: Literal["leaves-out"]
    step: Name


class NoWayBack(Strict):
    """A step of the plan has no way back."""

    kind: Literal["no-way-back"]
    step: Name


class Limit(Strict):
    """A condition of the plan has another limit."""

    kind: Literal["limit"]
    condition: str
    limit: float


class HalfWay(Strict):
    """Another drill has begun, and is not over."""

    kind: Literal["half-way"]
    drill: Name


class Runs(Strict):
    """A command of a shell, as root. It and what undoes it may be said twice; `{words}` are those of `Ways`."""

    kind: Literal["runs"]
    on: On
    does: Text
    undoes: str = ""


class Cuts(Strict):
    """Wires are pulled: the third site's to the others, or those of the public edge where writes are to come to."""

    kind: Literal["cuts"]
    wires: Literal["third-site", "new-edge"]


class PowersOff(Strict):
    """A machine loses its power."""

    kind: Literal["powers-off"]
    on: On


class Client(Strict):
    """The client outside is ended by somebody else, or dies."""

    kind: Literal["client"]
    how: Literal["ended", "dies"]


class Report(Strict):
    """The report has another byte in its commit, or lacks an entry of its journal and is signed again."""

    kind: Literal["report"]
    how: Literal["byte", "entry"]


type Edit = LeavesOut | NoWayBack | Limit
type Inject = Annotated[
    LeavesOut | NoWayBack | Limit | HalfWay | Runs | Cuts | PowersOff | Client | Report, Field(discriminator="kind")
]
type By = Literal["plan", "half-way", "condition", "client", "report", "step"]


class Red(Strict):
    """Why a drill is red: what found it, where, and what that said."""

    by: By
    at: Annotated[str, Field(description="the action of a condition, or a step's name")] = ""
    says: Text

    def __str__(self) -> str:
        return f"{self.by}{f' {self.at}' if self.at else ''}: {self.says}"


class Wanted(Red):
    """Why it must be: `says` is a pattern, to be found in what is said."""

    says: Annotated[str, Field(min_length=1), AfterValidator(_pattern)]


class Fault(Strict):
    """One."""

    title: Title
    drill: Name
    inject: Annotated[list[Inject], Field(min_length=1)]
    writing: Annotated[bool, Field(description="put in while the client writes, and not before")] = False
    red: Wanted

    def edits(self) -> Iterator[Edit]:
        """What is otherwise in its plan."""
        return (one for one in self.inject if isinstance(one, LeavesOut | NoWayBack | Limit))

    def edited(self, text: str) -> str:
        """The text of its plan, with the fault. What is to be otherwise is there: `read` has seen to that."""
        edits = [*self.edits()]
        if not edits:
            return text
        data = Source(Path(f"{self.drill}.yaml"), text).data
        for one in edits:
            _edit(data, one)
        return yaml.safe_dump(data, allow_unicode=True, sort_keys=False)


class Faults(Strict):
    """What the file holds."""

    faults: Annotated[dict[Name, Fault], Field(min_length=1)]


def read(plans: Mapping[str, Script], path: Path = FILE) -> dict[str, Fault]:
    """All of them by name, in their order. Raises ModelError where one concerns what no plan has."""
    source = Source(path)
    found = source.parse(Faults).faults
    wrong = [
        Finding(source.at("faults", name, *at), said, wanted)
        for name, fault in found.items()
        for at, said, wanted in _wrong(fault, plans)
    ]
    if wrong:
        raise ModelError(wrong)
    return found


def _edit(data: Any, one: Edit) -> None:
    match one:
        case LeavesOut():
            data["steps"] = [step for step in data["steps"] if step["name"] != one.step]
        case NoWayBack():
            del next(step for step in data["steps"] if step["name"] == one.step)["back"]
        case Limit():
            next(it for it in data["conditions"] if it["do"] == one.condition)["limit"] = one.limit


def _wrong(fault: Fault, plans: Mapping[str, Script]) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    if fault.drill not in plans:
        yield ("drill",), fault.drill, f"one of {', '.join(sorted(plans))}"
        return
    plan = plans[fault.drill].plan
    steps, conditions = [one.name for one in plan.steps], [one.do for one in plan.conditions]
    known = {"step": steps, "condition": conditions}.get(fault.red.by, [""])
    if fault.red.at not in known:
        yield ("red",), f"{fault.red.by} {fault.red.at!r}", f"one of {', '.join(known) or 'none'}"
    for number, one in enumerate(fault.inject):
        yield from ((("inject", number), *two) for two in _unknown(one, plan, plans))


def _unknown(one: Inject, plan: Plan, plans: Mapping[str, Script]) -> Iterator[tuple[str, str]]:
    steps = {step.name: bool(step.back) for step in plan.steps}
    limits = {condition.do for condition in plan.conditions if condition.limit is not None}
    match one:
        case LeavesOut() if one.step not in steps:
            yield one.step, f"a step: {', '.join(steps)}"
        case NoWayBack() if not steps.get(one.step):
            yield one.step, f"a step with a way back: {', '.join(name for name, back in steps.items() if back)}"
        case Limit() if one.condition not in limits:
            yield one.condition, f"a condition with a limit: {', '.join(sorted(limits))}"
        case HalfWay() if one.drill not in plans:
            yield one.drill, f"one of {', '.join(sorted(plans))}"
