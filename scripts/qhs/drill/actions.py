"""What a step of a drill can do: actions by name, each a function that gives evidence of what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue
from pydantic_core import to_jsonable_python

from stacks.model.catalogue import Strict

type Which = Literal["old", "new"]
"""The site that takes writes when a drill begins, and the one that is to take them when it ends."""
type Part = Literal["loses", "decides", "fences", "promotes"]
"""What an action is to the loss of a site: after `loses` the old site can no longer be asked to give writes up;
`decides` shows that none can be written there; `fences` takes its power; `promotes` has the other site take them."""
type Seconds = Annotated[float, Field(gt=0, le=900)]


class UnmetError(Exception):
    """Something is not as it should be, and may be soon: what was found, and what was wanted."""


class Evidence(Strict):
    """What an action has found."""

    found: Annotated[str, Field(min_length=1, description="for people, in one line")]
    facts: Annotated[dict[str, JsonValue], Field(min_length=1, description="what machines answered")]

    @classmethod
    def of(cls, found: str, **facts: Any) -> Evidence:
        """With whatever has a form in JSON."""
        return cls(found=found, facts=to_jsonable_python(facts))


class Call(Strict):
    """An action, and what it is given."""

    do: str
    site: Which | None = None
    limit: Annotated[float | None, Field(gt=0, description="in the unit that the action names")] = None
    within: Annotated[Seconds, Field(description="seconds until it is so; later is a failure")]


@dataclass(frozen=True)
class Action[C]:
    """One kind of step; `C` is what it needs to know of the estate."""

    run: Callable[[C, Call], Evidence]
    """Raises UnmetError where it may be so a moment later, UserError where it cannot. Twice is as good as once."""
    changes: bool
    """Whether anything is otherwise afterwards: then a plan has to say the way back."""
    of_site: bool
    limit: str
    """The unit of its limit; empty: it has none."""
    at_rest: bool
    """Whether it compares what a writer would change meanwhile."""
    part: Part | None = None

    @property
    def says(self) -> str:
        """What it does, for people."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True)
class Actions[C]:
    """Those that there are."""

    known: dict[str, Action[C]] = field(default_factory=dict)

    def action(
        self,
        name: str,
        *,
        changes: bool = False,
        of_site: bool = False,
        limit: str = "",
        at_rest: bool = False,
        part: Part | None = None,
    ) -> Callable[[Callable[[C, Call], Evidence]], Callable[[C, Call], Evidence]]:
        """Have a function under a name."""

        def kept(run: Callable[[C, Call], Evidence]) -> Callable[[C, Call], Evidence]:
            self.known[name] = Action(run, changes, of_site, limit, at_rest, part)
            return run

        return kept
