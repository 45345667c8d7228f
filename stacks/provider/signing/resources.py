"""The resources `qhs:signing:*`, as stacks declare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypedDict, Unpack

import pulumi


class OnDevices(TypedDict):
    """Where it is."""

    site: str
    devices: Sequence[str]
    token: str


class Shared(TypedDict):
    """What other sites have of it."""

    elsewhere: Mapping[str, Sequence[str]]
    """By site the other devices of its domain."""
    founds: bool
    """Whether it is made here, where no device has it."""


class _Declared(TypedDict):
    owner: str
    level: int
    serves: Sequence[str]


class TokenInputs(OnDevices, Shared, _Declared):
    """Everything that a Token takes."""

    keys: Sequence[str]
    """The labels of all keys that it is to have."""


class KeyInputs(OnDevices, Shared, _Declared):
    """Everything that a Key takes."""

    label: str
    algorithm: str
    use: str


class RequestInputs(OnDevices, _Declared):
    """Everything that a Request takes."""

    label: str
    subject: str


class CertificateInputs(OnDevices, _Declared):
    """Everything that a Certificate takes."""

    label: str
    purpose: str
    """`duty`, `time-stamp` or `images`."""
    authority: str
    anchor: str
    chain: str


class Token(pulumi.CustomResource):
    """A partition of every device of a site."""

    TYPE: ClassVar[str] = "qhs:signing:Token"

    gaps: pulumi.Output[list[str]]
    """What devices lack of it, or have in it that nobody declared."""

    def __init__(self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[TokenInputs]) -> None:
        super().__init__(self.TYPE, title, {**inputs, "gaps": None}, _protected(opts))


class Key(pulumi.CustomResource):
    """A key pair that every device of its domain has."""

    TYPE: ClassVar[str] = "qhs:signing:Key"

    gaps: pulumi.Output[list[str]]
    """What devices lack of it."""
    public: pulumi.Output[str]
    """SubjectPublicKeyInfo, in hexadecimal DER."""

    def __init__(self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[KeyInputs]) -> None:
        attributes = dict.fromkeys(("sensitive", "extractable", "private", "uses"))
        super().__init__(self.TYPE, title, {**inputs, **attributes, "gaps": None, "public": None}, _protected(opts))


class Request(pulumi.CustomResource):
    """A request for the certificate of a key."""

    TYPE: ClassVar[str] = "qhs:signing:Request"

    pem: pulumi.Output[str]
    """What an authority signs."""

    def __init__(self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[RequestInputs]) -> None:
        super().__init__(self.TYPE, title, {**inputs, "gaps": None, "pem": None}, opts)


class Certificate(pulumi.CustomResource):
    """The certificate of a key, on every device of a site."""

    TYPE: ClassVar[str] = "qhs:signing:Certificate"

    gaps: pulumi.Output[list[str]]
    """What devices lack of it."""
    subject: pulumi.Output[str]
    issuer: pulumi.Output[str]
    expires: pulumi.Output[str]
    """In ISO 8601."""

    def __init__(
        self, title: str, opts: pulumi.ResourceOptions | None = None, **inputs: Unpack[CertificateInputs]
    ) -> None:
        shown = dict.fromkeys(("gaps", "subject", "issuer", "expires"))
        super().__init__(self.TYPE, title, {**inputs, **shown}, opts)


def _protected(opts: pulumi.ResourceOptions | None) -> pulumi.ResourceOptions:
    """What cannot be made again is refused at the plan where something would delete or replace it (T-A11)."""
    return pulumi.ResourceOptions.merge(pulumi.ResourceOptions(protect=True), opts)
