"""The resources `qhs:secrets:*`, as stacks declare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NotRequired, TypedDict, Unpack

import pulumi


class StoreInputs(TypedDict):
    """What everything that stands in a site's stores declares."""

    site: str
    owner: str
    level: int
    serves: Sequence[str]


class MountInputs(StoreInputs):
    """Everything that a Mount takes."""

    path: str
    kind: str
    """`kv`, `transit` or `pki`."""


class PolicyInputs(StoreInputs):
    """Everything that a Policy takes."""

    name: str
    rules: Mapping[str, Sequence[str]]
    """By path the capabilities there."""


class AuthInputs(StoreInputs):
    """Everything that an Auth takes."""

    name: str
    machine: str
    """The first name of its certificate."""
    policies: Sequence[str]
    seconds: int
    """For which it is let in at a time."""


class TransitKeyInputs(StoreInputs):
    """Everything that a TransitKey takes."""

    name: str


class PkiAuthorityInputs(StoreInputs):
    """Everything that a PkiAuthority takes."""

    subject: str
    """Its name in certificates."""
    certificate: str
    """Of the authority above, in PEM; empty until it has answered."""


class PkiRoleInputs(StoreInputs):
    """Everything that a PkiRole takes."""

    name: str
    names: Sequence[str]
    """The host names that certificates may be for, with `*` for any part of one; addresses besides."""
    hours: int
    """For which one is good."""


class ClientAuthorityInputs(StoreInputs):
    """Everything that a ClientAuthority takes."""

    subject: str
    """Its name in certificates."""


class ClientRoleInputs(StoreInputs):
    """Everything that a ClientRole takes."""

    name: str
    user: str
    group: NotRequired[str]
    hours: int
    """For which a certificate is good."""


class Mount(pulumi.CustomResource):
    """An engine of a site's secret store."""

    TYPE: ClassVar[str] = "qhs:secrets:Mount"

    def __init__(self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[MountInputs]) -> None:
        super().__init__(self.TYPE, title, {**inputs}, opts)


class Policy(pulumi.CustomResource):
    """What somebody may do there."""

    TYPE: ClassVar[str] = "qhs:secrets:Policy"

    writer: pulumi.Output[str]
    """URN of the resource that wrote it last."""

    def __init__(self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[PolicyInputs]) -> None:
        super().__init__(self.TYPE, title, {**inputs, "writer": None}, opts)


class Auth(pulumi.CustomResource):
    """A machine that gets in by its certificate."""

    TYPE: ClassVar[str] = "qhs:secrets:Auth"

    writer: pulumi.Output[str]
    """URN of the resource that wrote it last."""
    root: pulumi.Output[str]
    """Whose certificates are believed: the estate's own."""

    def __init__(self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[AuthInputs]) -> None:
        super().__init__(self.TYPE, title, {**inputs, "writer": None, "root": None}, opts)


class TransitKey(pulumi.CustomResource):
    """A key that encrypts for others and never leaves the store."""

    TYPE: ClassVar[str] = "qhs:secrets:TransitKey"

    def __init__(
        self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[TransitKeyInputs]
    ) -> None:
        super().__init__(self.TYPE, title, {**inputs, "exportable": None}, opts)

    exportable: pulumi.Output[bool]
    """Whether somebody made it one that leaves."""


class PkiAuthority(pulumi.CustomResource):
    """An authority whose key the store has made and never gives out."""

    TYPE: ClassVar[str] = "qhs:secrets:PkiAuthority"

    request: pulumi.Output[str]
    """What the authority above signs, in PEM."""

    def __init__(
        self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[PkiAuthorityInputs]
    ) -> None:
        super().__init__(self.TYPE, title, {**inputs, "request": None}, opts)


class PkiRole(pulumi.CustomResource):
    """What certificates the authority of a site's store signs."""

    TYPE: ClassVar[str] = "qhs:secrets:PkiRole"

    odd: pulumi.Output[Sequence[str]]
    """What somebody made otherwise than every role of ours is."""

    def __init__(self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[PkiRoleInputs]) -> None:
        super().__init__(self.TYPE, title, {**inputs, "odd": None}, opts)


class ClientAuthority(pulumi.CustomResource):
    """An authority for the clients of a cluster, whose key the store has made and never gives out."""

    TYPE: ClassVar[str] = "qhs:secrets:ClientAuthority"

    def __init__(
        self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[ClientAuthorityInputs]
    ) -> None:
        super().__init__(self.TYPE, title, {**inputs}, opts)


class ClientRole(pulumi.CustomResource):
    """Which user that authority certifies for whoever may ask by this name."""

    TYPE: ClassVar[str] = "qhs:secrets:ClientRole"

    odd: pulumi.Output[Sequence[str]]
    """What somebody made otherwise than every role of ours is."""

    def __init__(
        self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[ClientRoleInputs]
    ) -> None:
        super().__init__(self.TYPE, title, {**inputs, "odd": None}, opts)
