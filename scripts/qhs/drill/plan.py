"""The plan of a drill: one reviewed file that says what is asked first, what is done, what shows it, and the way back.

A plan that could not be carried out, or not undone, is no plan: `read` refuses it with file and line. No network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal

from pydantic import Field

from qhs.drill.actions import Actions, Call, Part, Which
from qhs.drill.restored import RESTORE
from qhs.errors import UserError
from qhs.folders import CLONE
from stacks.model import ModelError, lease
from stacks.model.catalogue import Strict, Tier, Title
from stacks.model.source import Finding, Source

FOLDER = CLONE / "scripts" / "drills"
SITES = ("old", "new")
PHASES = ("detect", "decide", "fence", "promote", "redirect", "first-write")
"""What the time without writes is made of, in this order. The last one ends with a client's first write, by its own
record; no step has it."""

SAFELY: dict[Part, str] = {
    "decides": "shows that nothing can be written there",
    "fences": "takes its power",
}
"""What comes before a promotion where the old site is lost (T-B05)."""

type Phase = Literal["detect", "decide", "fence", "promote", "redirect"]
type Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
type ByHand = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
"""What a person does instead, line by line; `{old}` and `{new}` are the sites."""


class Manual(Call):
    """An action that a person can do as well."""

    by_hand: ByHand


class Condition(Manual):
    """What must be so before anything is touched."""

    title: Title


class Step(Manual):
    """One thing that is done, or waited for."""

    name: Name
    title: Title
    phase: Phase | None = None
    verify: list[Call] = []
    """What shows that it is done."""
    back: list[Manual] = []
    """How it is undone."""


class Plan(Strict):
    """What the file holds."""

    title: Title
    serves: Annotated[list[str], Field(min_length=1)]
    begins: Literal["active", "elsewhere", "stays"]
    """Where writes are taken when it begins: at whichever site is active, or at another than the one they belong to.
    Where they stay, `old` is the site that is active, and objectives are measured by what the plan restores."""
    conditions: Annotated[list[Condition], Field(min_length=1)]
    steps: Annotated[list[Step], Field(min_length=1)]
    keeps: Name
    """The step after which the new site has taken writes: what fails later does not undo it, or those would be lost.
    Where they stay, it is the one after which there is nothing to undo."""
    ends: Annotated[list[Manual], Field(min_length=1)]
    """What must be so at the end, whichever way it went."""
    undisturbed: Annotated[float | None, Field(gt=0)] = None
    """Where writes stay: the most seconds between two rows of the client outside, none of whose tries may then fail."""

    @property
    def restores(self) -> bool:
        """Whether databases come back from copies by it."""
        return any(step.do == RESTORE for step in self.steps)

    @property
    def measured(self) -> bool:
        """Whether it shows how long applications are without databases: what is done aside shows nothing of it."""
        return self.restores or self.begins != "stays"

    @property
    def place(self) -> Which:
        """The site where all of it is done, where writes stay."""
        return "new" if any(step.site == "new" for step in self.steps) else "old"

    def calls(self) -> Iterator[tuple[tuple[str | int, ...], Call]]:
        """Every action of it, and where it stands."""
        for number, condition in enumerate(self.conditions):
            yield ("conditions", number), condition
        for number, step in enumerate(self.steps):
            yield ("steps", number), step
            for key, calls in (("verify", step.verify), ("back", step.back)):
                for index, call in enumerate(calls):
                    yield ("steps", number, key, index), call
        for number, end in enumerate(self.ends):
            yield ("ends", number), end

    def seconds(self) -> float:
        """The longest for which it lets nobody write."""
        return sum(step.within + sum(one.within for one in step.verify) for step in self.steps if step.phase)


@dataclass(frozen=True)
class Script:
    """A plan with the very text that it was read from."""

    name: str
    plan: Plan
    text: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal: what a journal begins with."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def names(folder: Path = FOLDER) -> list[str]:
    """Of all plans."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read[C](name: str, known: Actions[C], tiers: Mapping[int, Tier], folder: Path = FOLDER) -> Script:
    """The plan of a name. Raises UserError where there is none, ModelError with every line that cannot be right."""
    if name not in names(folder):
        raise UserError(f"there is no plan {name!r} in {folder}", f"those that there are: {', '.join(names(folder))}")
    path = folder / f"{name}.yaml"
    return of(name, path.read_text(encoding="utf-8"), known, tiers, path)


def of[C](name: str, text: str, known: Actions[C], tiers: Mapping[int, Tier], path: Path) -> Script:
    """From text that stands in `path`. Raises ModelError."""
    source = Source(path, text)
    plan = source.parse(Plan)
    faults = [
        *_calls(plan, known),
        *_steps(plan, known),
        *_safely(plan, known),
        *_words(plan),
        *_quiet(plan),
        *_objectives(plan, tiers),
    ]
    if faults:
        raise ModelError(Finding(source.at(*at), found, wanted) for at, found, wanted in faults)
    return Script(name, plan, text)


type _Fault = tuple[tuple[str | int, ...], str, str]
"""Where it stands, what was found, what was wanted."""


def _calls[C](plan: Plan, known: Actions[C]) -> Iterator[_Fault]:
    for at, call in plan.calls():
        action = known.known.get(call.do)
        if action is None:
            yield (*at, "do"), f"the action {call.do!r}", f"one of {', '.join(sorted(known.known))}"
            continue
        if action.of_site != (call.site is not None):
            yield (*at, "site"), f"{call.do} of {call.site or 'no site'}", "old or new" if action.of_site else "none"
        if bool(action.limit) != (call.limit is not None):
            yield (*at, "limit"), f"{call.do} with the limit {call.limit}", action.limit or "none: it measures nothing"
        if action.changes and at[0] in ("conditions", "ends"):
            yield (*at, "do"), f"{call.do}, which changes something", "an action that only asks"


def _steps[C](plan: Plan, known: Actions[C]) -> Iterator[_Fault]:
    named = [one.name for one in plan.steps]
    for number, one in enumerate(plan.steps):
        if one.name in named[:number]:
            yield ("steps", number, "name"), f"{one.name} twice", "each once"
        action = known.known.get(one.do)
        undone = action is not None and action.changes and plan.keeps not in named[:number]
        if undone and not one.back:
            yield (
                ("steps", number),
                f"{one.name}, which changes something and has no way back",
                "`back`: how to undo it",
            )
        if one.back and not undone:
            yield ("steps", number, "back"), f"a way back of {one.name}, which nobody ever undoes", "none"
    if plan.keeps not in named:
        yield ("keeps",), plan.keeps, f"a step: {', '.join(named)}"
    phases = [PHASES.index(one.phase) for one in plan.steps if one.phase]
    if phases != sorted(phases):
        yield ("steps",), "phases that go back", f"this order: {', '.join(PHASES[:-1])}"


def _safely[C](plan: Plan, known: Actions[C]) -> Iterator[_Fault]:
    """Where the old site is lost, nobody promotes the other before none can be written there and it has no power.

    Where it is not, whatever promotes asks the old site itself, which then has to give writes up.
    """
    before: list[Part] = []
    for number, step in enumerate(plan.steps):
        action = known.known.get(step.do)
        part = action.part if action else None
        if part == "promotes" and before and (missing := [one for one in SAFELY if one not in before]):
            wanted = " and ".join(f"a step before it that {SAFELY[one]}" for one in missing)
            yield ("steps", number), f"{step.name}, which promotes where the old site may be lost", wanted
        before += [part] if part and step.site != "new" else []


def _words(plan: Plan) -> Iterator[_Fault]:
    for at, call in plan.calls():
        if isinstance(call, Manual):
            fields = {field for line in call.by_hand for _, field, _, _ in Formatter().parse(line) if field is not None}
            for strange in sorted(fields - set(SITES)):
                yield (*at, "by_hand"), f"{{{strange}}}", "{old} or {new}"


def _quiet(plan: Plan) -> Iterator[_Fault]:
    """Whoever moves writes keeps people from writing for a while."""
    if plan.undisturbed and plan.begins != "stays":
        yield ("undisturbed",), f"clients undisturbed by a plan that begins {plan.begins}", "none, or `begins: stays`"


def _objectives(plan: Plan, tiers: Mapping[int, Tier]) -> Iterator[_Fault]:
    """An objective that nobody could meet shows nothing: a site that is gone has the lease until that runs out, and
    steps that may each take what the plan lets them must come to no more than the objective."""
    for number, tier in tiers.items():
        rto = tier.rto_minutes * 60
        if not tier.replica:
            continue
        if rto <= lease.SECONDS:
            yield (
                ("title",),
                f"tier {number} with an RTO of {rto} s in stacks/catalogue/tiers.yaml, which nobody could meet",
                f"more than the {lease.SECONDS} s for which a site that is gone still has the lease",
            )
        elif plan.seconds() > rto:
            yield (
                ("steps",),
                f"steps that may keep everybody from writing for {plan.seconds():.0f} s",
                f"{rto} s at most: the RTO of tier {number}",
            )
