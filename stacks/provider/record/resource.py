"""The resource `qhs:dns:Record`, as stacks declare it."""

from __future__ import annotations

from typing import ClassVar, TypedDict, Unpack

import pulumi


class RecordInputs(TypedDict):
    """Everything that a Record takes."""

    name: str
    """The whole name, below its domain."""
    domain: str
    """One that an authority takes updates of."""
    ttl: int
    """In seconds."""
    addresses: list[str]
    """Of either family."""
    owner: str
    level: int
    serves: list[str]


class Record(pulumi.CustomResource):
    """A name with its addresses. Its id is the name."""

    TYPE: ClassVar[str] = "qhs:dns:Record"

    writer: pulumi.Output[str]
    """URN of the resource that wrote it last, as the authority has it."""
    others: pulumi.Output[list[str]]
    """What stands at the name beside its addresses: nothing, unless somebody put it there by hand."""

    def __init__(self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[RecordInputs]) -> None:
        # As a Ruleset: replaced under its own name and deleted last, it would take its successor along.
        first = pulumi.ResourceOptions(delete_before_replace=True)
        outputs = {"writer": None, "others": None}
        super().__init__(self.TYPE, title, {**inputs, **outputs}, pulumi.ResourceOptions.merge(first, opts))
