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
    """The host names that certificates may be for, with `*` for any part of one."""
    addresses: NotRequired[bool]
    """Whether they may be for any address of the site besides: of machines alone, as others could stand for those."""
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
    host: NotRequired[str]
    """A name by which it answers others, too."""
    hours: int
    """For which a certificate is good."""


class TokenIssuerInputs(StoreInputs):
    """Everything that a TokenIssuer takes."""

    issuer: str
    """As its tokens name it."""


class TokenRoleInputs(StoreInputs):
    """Everything that a TokenRole takes."""

    name: str
    account: str
    """As the cluster's tokens name it."""
    audience: str
    """For whom a token must have been made."""
    policies: Sequence[str]
    seconds: int
    """For which it is let in at a time."""


class SharedInputs(TypedDict):
    """Everything that a Shared takes."""

    path: str
    made: str
    """The field that is the secret."""
    beside: Mapping[str, Sequence[str]]
    """What else stands there."""
    stores: Sequence[str]
    """The sites whose secret stores have it."""
    owner: str
    level: int
    serves: Sequence[str]


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

    certificate: pulumi.Output[str]
    """By which its clients are known, in PEM."""

    def __init__(
        self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[ClientAuthorityInputs]
    ) -> None:
        super().__init__(self.TYPE, title, {**inputs, "certificate": None}, opts)


class ClientRole(pulumi.CustomResource):
    """Which user that authority certifies for whoever may ask by this name."""

    TYPE: ClassVar[str] = "qhs:secrets:ClientRole"

    odd: pulumi.Output[Sequence[str]]
    """What somebody made otherwise than every role of ours is."""

    def __init__(
        self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[ClientRoleInputs]
    ) -> None:
        super().__init__(self.TYPE, title, {**inputs, "odd": None}, opts)


class TokenIssuer(pulumi.CustomResource):
    """The cluster whose tokens a site's store believes."""

    TYPE: ClassVar[str] = "qhs:secrets:TokenIssuer"

    verifies: pulumi.Output[str]
    """Whose tokens: the cluster's own."""
    root: pulumi.Output[str]
    """The certificate, in PEM, by which whoever gets in knows the store and everything else of the estate."""

    def __init__(
        self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[TokenIssuerInputs]
    ) -> None:
        super().__init__(self.TYPE, title, {**inputs, "verifies": None, "root": None}, opts)


class TokenRole(pulumi.CustomResource):
    """A part of an application that gets in by a token of its cluster."""

    TYPE: ClassVar[str] = "qhs:secrets:TokenRole"

    odd: pulumi.Output[Sequence[str]]
    """What somebody made otherwise than every role of ours is."""

    def __init__(
        self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[TokenRoleInputs]
    ) -> None:
        super().__init__(self.TYPE, title, {**inputs, "odd": None}, opts)


class Shared(pulumi.CustomResource):
    """A secret that the stores of several sites have alike. It lies there, and in no state."""

    TYPE: ClassVar[str] = "qhs:secrets:Shared"

    writer: pulumi.Output[str]
    """URN of the resource that wrote it last."""
    gaps: pulumi.Output[Sequence[str]]
    """Secret stores that do not have it yet."""

    def __init__(self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[SharedInputs]) -> None:
        super().__init__(self.TYPE, title, {**inputs, "writer": None, "gaps": None}, opts)
