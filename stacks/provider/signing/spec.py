"""The inputs of tokens, keys, requests and certificates: what each may be. No network, no Pulumi."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stacks.provider.inputs import Input
from stacks.provider.signing.certificates import Chain, ChainError

Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,31}$")]
Machine = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Algorithm = Literal["rsa-3072", "rsa-4096", "ec-p256", "ec-p384"]
Use = Literal["sign"]
Purpose = Literal["duty", "time-stamp", "images"]
RESERVED = ("kek", "transport", "unseal")
"""Labels that a device has for itself."""
REHEARSAL = "rehearsal-"
"""How the label of a token begins that devices let be taken away from afar (roles/hsm/files/qhs_hsm.py)."""


class OnDevices(Input):
    """What every kind says: where it is, and what it declares."""

    site: Machine
    devices: Annotated[list[Machine], Field(min_length=1)]
    """The machines of the site that have a device; every one of them has it."""
    token: Label
    owner: str
    level: int
    serves: list[str]

    @model_validator(mode="after")
    def _free(self) -> Self:
        if self.token in RESERVED or self.token.startswith(REHEARSAL):
            raise ValueError(f"{self.token} is a label that devices have for themselves, or for rehearsals")
        return self


class Shared(OnDevices):
    """What all sites have in common."""

    elsewhere: dict[Machine, list[Machine]]
    """By site the devices that it may be got from, those to be asked first before the others."""
    founds: bool
    """Whether this site makes it where nobody has it. One does: two would make two."""


class TokenSpec(Shared):
    """A partition of every device of a site, for one tenant or purpose."""

    keys: list[Label]
    """All that it is to have, beside those that a device has for itself."""


class KeySpec(Shared):
    """A key pair that every device of the token's domain has."""

    label: Label
    algorithm: Algorithm
    use: Use

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.label in RESERVED:
            raise ValueError(f"{self.label} is a label that devices have for themselves")
        return self


class RequestSpec(OnDevices):
    """A request for a certificate of a key."""

    label: Label
    subject: Annotated[str, Field(pattern=r"^[^\x00-\x1f/=]{1,64}(/[^\x00-\x1f/=]{1,64}){0,2}$")]
    """Common name, organisation and unit."""


class CertificateSpec(OnDevices):
    """The certificate of a key, with the authorities over it, beside the key."""

    label: Label
    purpose: Purpose
    authority: str
    """The authority that it must chain to."""
    anchor: str
    """The certificate of that authority, in PEM."""
    chain: str
    """The certificate and those between it and the authority, in PEM."""

    @model_validator(mode="after")
    def _holds(self) -> Self:
        try:
            Chain.read(self.chain, self.anchor).judge(self.purpose)
        except ChainError as error:
            raise ValueError(f"{self.token}/{self.label}: {error}") from None
        return self
