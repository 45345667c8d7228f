"""The inputs of a Record: what each may be, and their normal form. No network, no Pulumi."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Annotated, Self

from dns import name as names
from dns import rdatatype, rrset
from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyAddress, StringConstraints, model_validator

from stacks.provider.inputs import Input

LONGEST_TTL = 86_400
LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
ADDRESSES = {4: rdatatype.A, 6: rdatatype.AAAA}


def ordered(addresses: Iterable[IPvAnyAddress]) -> list[IPvAnyAddress]:
    """Each once, in one order: a name has its addresses in none."""
    return sorted(set(addresses), key=lambda one: (one.version, one))


def _of_one_host(address: IPvAnyAddress) -> IPvAnyAddress:
    if address.is_link_local or address.is_multicast or address.is_unspecified or "%" in str(address):
        raise ValueError(f"{address} is no address by which others could reach a host")
    return address


def _without_dot(text: object) -> object:
    return text.lower().removesuffix(".") if isinstance(text, str) else text


Address = Annotated[IPvAnyAddress, AfterValidator(_of_one_host)]
Domain = Annotated[
    str,
    BeforeValidator(_without_dot),
    # Before every name there must be room for the label that says who wrote it.
    StringConstraints(pattern=rf"^{LABEL}(\.{LABEL})+$", max_length=240),
]


class RecordSpec(Input):
    """A name and its addresses."""

    name: Domain
    domain: Domain
    ttl: Annotated[int, Field(ge=1, le=LONGEST_TTL)]
    addresses: Annotated[list[Address], Field(min_length=1), AfterValidator(ordered)]
    owner: str
    level: int
    serves: list[str]

    @model_validator(mode="after")
    def _below_its_domain(self) -> Self:
        if not self.name.endswith(f".{self.domain}"):
            raise ValueError(f"{self.name} is no name below {self.domain}")
        return self

    def rrsets(self) -> list[rrset.RRset]:
        """As an authority has them."""
        at = absolute(self.name)
        of = {kind: [str(one) for one in self.addresses if one.version == ip] for ip, kind in ADDRESSES.items()}
        return [rrset.from_text_list(at, self.ttl, "IN", kind, texts) for kind, texts in of.items() if texts]


def absolute(text: str) -> names.Name:
    """A name as an authority has it."""
    return names.from_text(f"{text}.")


def addresses_of(rrsets: Iterable[rrset.RRset]) -> list[str]:
    """The addresses among what stands at a name, in their normal form."""
    return [str(one) for one in ordered(ip_address(one.address) for rrset in _of(rrsets) for one in rrset)]


def others_of(rrsets: Iterable[rrset.RRset]) -> list[str]:
    """What stands at a name beside its addresses."""
    others = (one for one in rrsets if one.rdtype not in ADDRESSES.values())
    return sorted(f"{rdatatype.to_text(one.rdtype)} {data}" for one in others for data in one)


def ttl_of(rrsets: Iterable[rrset.RRset], described: int) -> int:
    """The TTL of the addresses; where one differs from what was described, that one."""
    return next((one.ttl for one in _of(rrsets) if one.ttl != described), described)


def _of(rrsets: Iterable[rrset.RRset]) -> list[rrset.RRset]:
    return [one for one in rrsets if one.rdtype in ADDRESSES.values()]
