"""What every fact is made of. Nothing here knows Pulumi or a connection.

A value that is not known yet is `UNKNOWN`. Reading it with `known` raises `Undecided`, so a rule cannot
mistake it for a value that is absent or fine.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Tag, model_validator
from pydantic.alias_generators import to_camel


class Unknown(Enum):
    """The type of `UNKNOWN`."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


def _branch(value: Any) -> str:
    return "unknown" if value is UNKNOWN else "known"


type Maybe[T] = Annotated[
    Annotated[T, Tag("known")] | Annotated[Literal[Unknown.UNKNOWN], Tag("unknown")], Discriminator(_branch)
]


class Undecided(Exception):  # noqa: N818 - an answer, not an error
    """A rule needs a value that is not known yet. Carries the value's name."""


def known[T](value: T | Literal[Unknown.UNKNOWN], name: str) -> T:
    """The value; raises Undecided with its name where it is not known yet."""
    if value is UNKNOWN:
        raise Undecided(name)
    return value


def _whole(value: Any) -> Any:
    """A list with one unknown item is not known."""
    return UNKNOWN if isinstance(value, list | tuple) and UNKNOWN in value else value


type Texts = Annotated[Maybe[tuple[str, ...]], BeforeValidator(_whole)]


class Facts(BaseModel):
    """Base of all facts: camelCase as in a plan, unknown keys ignored (they are judged by other rules).

    A value has a default only where its absence is a fault to some rule, or makes one stricter. What a rule would pass
    over if it were not there has none: a plan without it is malformed.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class Resource(Facts):
    """Anything in the plan. What is not of our own types carries only its address and its parent."""

    urn: str
    type: str
    name: str
    parent: str | None = None
    owner: Maybe[str] = ""
    level: Maybe[int | None] = None
    serves: Texts = ()


class Bounded(Resource):
    """What says what its environment cannot do."""

    environment: Maybe[str]
    limits: Maybe[dict[str, Texts]]
    """With the controls that this touches."""
