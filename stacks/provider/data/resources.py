"""The resources `qhs:data:*`, as stacks declare them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Unpack

import pulumi

from stacks.provider.secret.resources import StoreInputs


class RoleInputs(StoreInputs):
    """Everything that a Role takes."""

    name: str
    connections: int
    """How many it may have at a time."""
    stores: Sequence[str]
    """The sites whose secret stores have its password."""


class DatabaseInputs(StoreInputs):
    """Everything that a Database takes."""

    name: str
    tenant: str
    """Whose it is, by its name in the catalogue."""
    role: str
    """Who uses it."""
    information: str
    """The class of what it holds."""


class Role(pulumi.CustomResource):
    """An application that comes into a site's databases. The password lies in secret stores, and in no state."""

    TYPE: ClassVar[str] = "qhs:data:Role"

    writer: pulumi.Output[str]
    """URN of the resource that wrote it last."""
    may: pulumi.Output[Sequence[str]]
    """What it may do there: to log in, and nothing else."""
    gaps: pulumi.Output[Sequence[str]]
    """Secret stores that do not have the password yet."""

    def __init__(self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[RoleInputs]) -> None:
        super().__init__(self.TYPE, title, {**inputs, "writer": None, "may": None, "gaps": None}, opts)


class Database(pulumi.CustomResource):
    """A database that one role uses."""

    TYPE: ClassVar[str] = "qhs:data:Database"

    writer: pulumi.Output[str]
    """URN of the resource that wrote it last."""
    admits: pulumi.Output[Sequence[str]]
    """Who may come in: that role alone."""
    logged: pulumi.Output[bool]
    """Whether the servers log every statement, without its values."""

    def __init__(
        self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[DatabaseInputs]
    ) -> None:
        super().__init__(self.TYPE, title, {**inputs, "writer": None, "admits": None, "logged": None}, opts)
