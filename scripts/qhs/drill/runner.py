"""Carries a plan out, step by step, from wherever its journal ends; what fails is undone, or kept where it must be.

Every step may be done twice: a run that was killed does the step that it had begun once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from qhs.drill.actions import Action, Actions, Call, Evidence, UnmetError
from qhs.drill.journal import Begun, Done, Ended, Failed, Held, Journal, Kept, Recorded, Refused, Resumed, Undone
from qhs.drill.plan import Plan, Step
from qhs.drill.written import Client, Written
from qhs.errors import UserError
from qhs.progress import Progress

EVERY = 0.5
"""Seconds between two questions whether something is so by now."""


@dataclass(frozen=True)
class Runner[C]:
    """Of one drill."""

    plan: Plan
    actions: Actions[C]
    context: C
    client: Client
    journal: Journal
    progress: Progress

    def run(self) -> None:
        """To its end; the journal says which. Raises UserError where it cannot be gone on with."""
        if not self._begun():
            if not (self.holds() and self._starts()):
                return
        elif not any(self.journal.events(Recorded)):
            self._goes_on()
        if not self._fails():
            self._forward()
        if self._fails():
            self._back()
        self._record()
        self._end()

    def _begun(self) -> set[str]:
        return {one.step for one in self.journal.events(Begun)}

    def _done(self) -> set[str]:
        return {one.step for one in self.journal.events(Done)}

    def _fails(self) -> bool:
        """Whether what was done is to be undone."""
        return any(self.journal.events(Failed)) or any(one.back for one in self.journal.events(Resumed))

    def rehearse(self, meanwhile: Callable[[], None]) -> None:
        """All of it but the steps: what is asked before, a client that writes, and what must be so at the end."""
        if not (self.holds() and self._starts()):
            return
        try:
            meanwhile()
        finally:
            self._record()
        self._end()

    def holds(self) -> bool:
        """Whether all conditions do; else it is refused."""
        for number, condition in enumerate(self.plan.conditions):
            self.progress(f"asks: {condition.title.en}")
            try:
                self.journal.note(Held(number=number, evidence=self._met(condition)))
            except Exception as error:
                self.journal.note(Refused(number=number, why=_why(error)))
                return False
        return True

    def _starts(self) -> bool:
        """Whether somebody writes; else it is refused."""
        try:
            self.client.start()
        except Exception as error:
            self.journal.note(Refused(number=len(self.plan.conditions), why=_why(error)))
            return False
        return True

    def _goes_on(self) -> None:
        """Whether the client does; a drill whose client was ended is gone on with all the same, and lacks evidence."""
        try:
            self.client.goes_on()
        except Exception as error:
            self.journal.note(Recorded(written=Written.none(_why(error))))

    def _forward(self) -> None:
        for number, step in enumerate(self.plan.steps, 1):
            if step.name in self._done():
                continue
            self.progress(f"step {number} of {len(self.plan.steps)}: {step.title.en}")
            if any(self._action(one).at_rest for one in (step, *step.verify)):
                self._record()
            self.journal.note(Begun(step=step.name))
            try:
                evidence = [self._met(one) for one in (step, *step.verify)]
            except Exception as error:
                self.journal.note(Failed(step=step.name, why=_why(error)))
                self.progress(f"failed: {_why(error)}")
                return
            self.journal.note(Done(step=step.name, evidence=evidence))

    def _back(self) -> None:
        if self.plan.keeps in self._done():
            if not any(self.journal.events(Kept)):
                self.journal.note(Kept())
            return
        undone = {one.step for one in self.journal.events(Undone) if not one.faults}
        for step in self._to_undo():
            if step.name not in undone:
                self.progress(f"goes back: {step.title.en}")
                evidence, faults = self._all([*step.back])
                self.journal.note(Undone(step=step.name, evidence=evidence, faults=faults))

    def _to_undo(self) -> Iterator[Step]:
        begun = self._begun()
        return (one for one in reversed(self.plan.steps) if one.back and one.name in begun)

    def _record(self) -> None:
        """Have the client end, once."""
        if not any(self.journal.events(Recorded)):
            try:
                written = self.client.stop()
            except Exception as error:
                written = Written.none(_why(error))
            self.journal.note(Recorded(written=written))
        self.client.leave()

    def _end(self) -> None:
        evidence, faults = self._all([*self.plan.ends])
        self.journal.note(Ended(evidence=evidence, faults=faults))

    def _all(self, calls: list[Call]) -> tuple[list[Evidence], list[str]]:
        """All of them, whatever becomes of one."""
        evidence, faults = [], []
        for call in calls:
            try:
                evidence.append(self._met(call))
            except Exception as error:
                faults.append(f"{call.do}: {_why(error)}")
        return evidence, faults

    def _action(self, call: Call) -> Action[C]:
        return self.actions.known[call.do]

    def _met(self, call: Call) -> Evidence:
        """What an action found once it was so; whatever raises is a failure."""
        began = time.monotonic()
        while True:
            try:
                evidence = self._action(call).run(self.context, call)
            except UnmetError as error:
                if time.monotonic() - began + EVERY > call.within:
                    raise UnmetError(f"{error}, within {call.within:.0f} s") from None
                time.sleep(EVERY)
                continue
            if (took := time.monotonic() - began) > call.within:
                raise UnmetError(f"{call.do}: found it done after {took:.1f} s; wanted it within {call.within:.0f} s")
            return evidence


def go_on(journal: Journal, *, back: bool) -> None:
    """Note that an unfinished drill goes on, or is to be undone. Raises UserError where that would lose writes."""
    began = journal.began
    if back and began.carried_out.keeps in {one.step for one in journal.events(Done)}:
        raise UserError(
            f"{journal.folder.name}: found that {began.new} may have taken writes; wanted none to be lost",
            f"`qhs drill {began.name}` ends it; a drill the other way then brings writes back to {began.old}",
        )
    journal.note(Resumed(back=back))


def _why(error: Exception) -> str:
    told = isinstance(error, UnmetError | UserError)
    return str(error) if told else f"{type(error).__name__}: {error}"
