"""What a client outside writes while a drill runs, by its own record: a drill's measure of time and loss."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import AwareDatetime, Field, JsonValue

from stacks.model.catalogue import Strict


class Gap(Strict):
    """The longest time between two rows that were acknowledged."""

    after: Annotated[AwareDatetime, Field(description="when the last row before it was acknowledged")]
    until: Annotated[AwareDatetime, Field(description="when the first row after it was")]
    over: Annotated[bool, Field(description="whether there was one after it")]

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.until - self.after).total_seconds()


type Rows = dict[str, list[int]]
"""Their numbers, by the client that counted them; of those that have any."""


class Written(Strict):
    """Rows of the clients outside, through the names that everybody uses."""

    rows: Annotated[int, Field(ge=0, description="that were acknowledged")]
    gap: Gap | None = None
    lost: Annotated[Rows, Field(description="rows that were acknowledged and are not there")] = {}
    lost_seconds: Annotated[float, Field(ge=0, description="from the first of them to the last")] = 0
    duplicate: Rows = {}
    reordered: Rows = {}
    unknown: Annotated[Rows, Field(description="rows that are there and nobody wrote")] = {}
    failed: Annotated[
        dict[str, int], Field(description="tries that came to nothing, by client; of those with any")
    ] = {}
    told: Annotated[dict[str, JsonValue], Field(description="all that each client says of itself")] = {}
    missing: Annotated[str, Field(description="why there is no such record; empty: there is")] = ""

    @classmethod
    def none(cls, why: str) -> Written:
        """Where there is no record."""
        return cls(rows=0, missing=why)


class Client(Protocol):
    """The one outside."""

    def start(self) -> None:
        """Have it write; the drill's own goes on. Raises UserError."""

    def goes_on(self) -> None:
        """Raises UserError where there is none that this drill has begun."""

    def stop(self) -> Written:
        """Have it end, and compare what it wrote with what is there; the same if asked again. Raises UserError."""

    def leave(self) -> None:
        """Once that is on record: nothing of it stands any more."""
