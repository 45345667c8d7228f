"""The resources `qhs:storage:*`, as stacks declare them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NotRequired, Unpack

import pulumi

from stacks.provider.secret.resources import StoreInputs


class IdentityInputs(StoreInputs):
    """Everything that an Identity takes."""

    name: str
    rights: Sequence[str]
    """`Admin`, or `Read:`, `Write:` and `List:` with the name of a bucket."""


class BucketInputs(StoreInputs):
    """Everything that a Bucket takes."""

    name: str
    tenant: NotRequired[str]
    """Whose it is, by its name in the catalogue; none: the estate's own."""
    versioned: bool
    """Whether what is written over or deleted is kept."""
    archive_years: int
    """For how long nobody can change or delete what is written there; 0: as long as its tenant wants."""
    locked_days: NotRequired[int]
    """The same of what is no archive."""


class Identity(pulumi.CustomResource):
    """Somebody who may come into a site's object store. The key lies in the site's secret store, and in no state."""

    TYPE: ClassVar[str] = "qhs:storage:Identity"

    writer: pulumi.Output[str]
    """URN of the resource that wrote it last."""

    def __init__(
        self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[IdentityInputs]
    ) -> None:
        super().__init__(self.TYPE, title, {**inputs, "writer": None}, opts)


class Bucket(pulumi.CustomResource):
    """A bucket of a site's object store."""

    TYPE: ClassVar[str] = "qhs:storage:Bucket"

    def __init__(self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[BucketInputs]) -> None:
        super().__init__(self.TYPE, title, {**inputs}, opts)
