"""The inputs of what stands in a secret store: what each may be, and how the store has it. No network, no Pulumi."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import AfterValidator, Field

from stacks.provider.inputs import Input, Plain

Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Path = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_/+*.-]*$", max_length=200)]
HostNames = Annotated[str, Field(pattern=r"^[a-z0-9*][a-z0-9.*-]{0,252}$")]
"""A host name, or several: `*` is any part of one."""
Subject = Annotated[str, Field(pattern=r"^[A-Za-z0-9 .-]{1,64}$")]
"""An authority's name in certificates."""
Right = Literal["create", "read", "update", "delete", "list"]

WRITER = "# written by "
_RULE = re.compile(r'^path "([^"]+)" \{ capabilities = \[([^\]]*)\] \}$')


def ordered(names: list[Any]) -> list[Any]:
    """In one order, each once: what differs in that alone is no difference."""
    return sorted(set(names))


def one_certificate(pem: str) -> str:
    """In its one form."""
    if not pem.strip():
        return ""
    (found,) = x509.load_pem_x509_certificates(pem.encode())
    return found.public_bytes(Encoding.PEM).decode()


class StoreInput(Input):
    """What every kind declares beside its own."""

    site: Word
    owner: str
    level: int
    serves: list[str]


class MountSpec(StoreInput):
    """An engine of a store at a path of its own."""

    path: Word
    kind: Literal["kv", "transit", "pki"]


class PolicySpec(StoreInput):
    """What whoever has it may do, path by path; what no path names is denied."""

    name: Word
    rules: dict[Path, Annotated[list[Right], AfterValidator(ordered), Field(min_length=1)]]


class AuthSpec(StoreInput):
    """A machine, which gets in by the certificate that the estate vouches for, and what it may then."""

    name: Word
    machine: Word
    policies: Annotated[list[Word], AfterValidator(ordered), Field(min_length=1)]
    seconds: int = Field(ge=60, le=86_400, description="for which it is let in at a time")


class TransitKeySpec(StoreInput):
    """A key of the engine for them."""

    name: Word


class PkiAuthoritySpec(StoreInput):
    """An authority of the engine for certificates: its key is made there and never leaves."""

    subject: Subject
    certificate: Annotated[str, AfterValidator(one_certificate)] = Field(
        description="of the authority above, in PEM; empty: it has not answered yet"
    )


class PkiRoleSpec(StoreInput):
    """What certificates the authority signs for whoever may ask by this name."""

    name: Word
    names: Annotated[list[HostNames], AfterValidator(ordered), Field(min_length=1)]
    addresses: bool = Field(False, description="whether one may be for addresses too: of the site, but whosever")
    hours: int = Field(ge=1, le=2160, description="for which one is good")


class ClientAuthoritySpec(StoreInput):
    """An authority for whoever comes to a cluster, which alone believes it: its key is made here and never leaves."""

    subject: Subject


class ClientRoleSpec(StoreInput):
    """Who has a certificate of it: one user's name, that user's group, and the host name by which he answers others."""

    name: Word
    user: Annotated[str, Field(pattern=r"^[a-z][a-z0-9:-]{0,62}$")]
    group: Annotated[str, Field(pattern=r"^([a-z][a-z0-9:-]{0,62})?$")] = ""
    # With a dot, which no user's name has.
    host: Annotated[str, Field(pattern=r"^([a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+)?$")] = ""
    hours: int = Field(ge=1, le=2160, description="for which one is good")


class TokenIssuerSpec(StoreInput):
    """The cluster of a site, whose tokens its store believes."""

    issuer: Annotated[str, Field(pattern=r"^https://[a-z0-9.-]+$")]


class TokenRoleSpec(StoreInput):
    """An account of a cluster, which gets in by a token that was made for this store alone, and what it may then."""

    name: Word
    account: Annotated[str, Field(pattern=r"^system:serviceaccount:[a-z0-9-]+:[a-z0-9-]+$")]
    audience: HostNames
    policies: Annotated[list[Word], AfterValidator(ordered), Field(min_length=1)]
    seconds: int = Field(ge=60, le=86_400, description="for which it is let in at a time")


class SharedSpec(Input):
    """A secret that several stores have alike, and what stands beside it there."""

    path: Path
    made: Word = Field(description="the field that is the secret")
    beside: dict[Word, Annotated[list[str], AfterValidator(ordered)]]
    stores: Annotated[list[Word], AfterValidator(ordered), Field(min_length=1)]
    owner: str
    level: int
    serves: list[str]


def policy_text(rules: dict[str, list[str]], writer: str) -> str:
    """As the store keeps it; the first line says whose it is."""
    lines = (f'path "{path}" {{ capabilities = [{_quoted(may)}] }}' for path, may in sorted(rules.items()))
    return "\n".join([f"{WRITER}{writer}", *lines]) + "\n"


def policy_rules(text: str) -> Plain:
    """What a policy lets whoever has it do; a line that is not ours is a path with no right that anybody declares."""
    found: Plain = {}
    for line in text.splitlines():
        if (rule := _RULE.match(line)) and rule[1] not in found:
            found[rule[1]] = sorted(re.findall(r'"([^"]*)"', rule[2]))
        elif line.strip() and not line.startswith(WRITER):
            found[line.strip()] = ["(by hand)"]
    return found


def policy_writer(text: str) -> str | None:
    """The resource that wrote it; None: none did."""
    first = text.partition("\n")[0]
    return first.removeprefix(WRITER) if first.startswith(WRITER) else None


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{one}"' for one in sorted(names))
