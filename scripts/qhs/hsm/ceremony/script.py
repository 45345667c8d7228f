"""The script of a ceremony: one reviewed file that says what is done to which devices, and what they then answer.

Its digest is what approvers consent to and what a transcript begins with. No network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from qhs.environments import Environment
from stacks.model import Estate, ModelError
from stacks.model.catalogue import Strict
from stacks.model.estate import HSM
from stacks.model.source import Finding, Source
from stacks.provider.signing.spec import REHEARSAL, RESERVED, Algorithm, Label, Machine, Use
from stacks.signatures import Name

ACTION = "ceremony"
"""What approvals call it."""

type Token = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,21}$")]
"""A label that has room for `REHEARSAL` before it."""
type PublicKey = Annotated[str, Field(pattern=r"^(ssh|ecdsa|sk)-\S+ [A-Za-z0-9+/=]+$")]


class Attributes(Strict):
    """How a key is protected, and what it may be used for."""

    sensitive: bool
    extractable: bool
    private: bool
    modifiable: bool
    uses: list[str]


class TokenShown(Strict):
    """What a device shows of a token."""

    model: str
    flags: list[str]
    """PKCS#11's, about its PINs."""


class Proof(Strict):
    """Whether a signature of now verified under the public key."""

    verified: bool


class Held(Strict):
    """The labels of a token's keys, in order, without those that devices have for themselves."""

    keys: list[str]


class _Step(Strict):
    title: Annotated[str, Field(min_length=1)]
    """What is read aloud."""


class MakeToken(_Step):
    """A token with PINs of its own on each device."""

    do: Literal["make-token"]
    expect: TokenShown


class MakeKek(_Step):
    """The key of the token's domain: the first device makes it, the others get it wrapped for them alone."""

    do: Literal["make-kek"]
    expect: Attributes


class MakeKey(_Step):
    """A key pair: the first device makes it, the others get it wrapped under the key of the domain."""

    do: Literal["make-key"]
    label: Label
    algorithm: Algorithm
    use: Use
    expect: Attributes


class Prove(_Step):
    """A signature by each device, verified."""

    do: Literal["prove"]
    label: Label
    expect: Proof


class Record(_Step):
    """Which keys each device holds, with their fingerprints."""

    do: Literal["record"]
    expect: Held


type Step = Annotated[MakeToken | MakeKek | MakeKey | Prove | Record, Field(discriminator="do")]


class Witnesses(Strict):
    """Who is there and signs the transcript, each with a key of their own."""

    need: Annotated[int, Field(ge=2)]
    """How many of them must sign."""
    keys: dict[Name, PublicKey]


class Ceremony(Strict):
    """What the file holds."""

    name: Name
    purpose: Annotated[str, Field(min_length=1)]
    environment: Environment
    devices: Annotated[list[Machine], Field(min_length=1)]
    """The first one makes the keys."""
    token: Token
    steps: list[Step]
    witnesses: Witnesses


@dataclass(frozen=True)
class Script:
    """A ceremony with the very text that it was read from."""

    ceremony: Ceremony
    text: str
    source: Source

    @classmethod
    def read(cls, path: Path) -> Script:
        """From a file. Raises ModelError with every line that cannot be right."""
        try:
            return cls.of(path.read_bytes().decode(), path)
        except UnicodeDecodeError as error:
            raise ModelError([Finding(str(path), f"no text ({error.reason})", "YAML in UTF-8")]) from None

    @classmethod
    def of(cls, text: str, path: Path) -> Script:
        """From text that stands in `path`. Raises ModelError."""
        source = Source(path, text)
        ceremony = source.parse(Ceremony)
        findings = [Finding(source.at(*at), found, wanted) for at, found, wanted in _wrong(ceremony)]
        if findings:
            raise ModelError(findings)
        return cls(ceremony, text, source)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal: `sha256sum` says the same."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def subject(self) -> str:
        """What an approval names."""
        return f"{self.ceremony.name}@sha256:{self.digest}"

    @property
    def labels(self) -> list[str]:
        """Of the keys that it makes."""
        return [one.label for one in self.ceremony.steps if isinstance(one, MakeKey)]

    def token(self, *, rehearsal: bool) -> str:
        """The label of the token that is made."""
        return REHEARSAL + self.ceremony.token if rehearsal else self.ceremony.token

    def fit(self, estate: Estate) -> None:
        """Raises ModelError where the estate has no such devices."""
        has = [one.name for one in estate.machines.values() if HSM in one.roles]
        findings = [
            Finding(self.source.at("devices", index), one, f"a device of {self.ceremony.environment}: {', '.join(has)}")
            for index, one in enumerate(self.ceremony.devices)
            if one not in has
        ]
        if findings:
            raise ModelError(findings)


type _Fault = tuple[tuple[str | int, ...], str, str]


def _wrong(ceremony: Ceremony) -> Iterator[_Fault]:
    """Where it stands, what was found, what is wanted."""
    if ceremony.token in RESERVED or ceremony.token.startswith(REHEARSAL):
        yield ("token",), ceremony.token, f"none that devices have for themselves: {', '.join(RESERVED)}, {REHEARSAL}*"
    yield from _twice(ceremony.devices, "devices")
    keys = ceremony.witnesses.keys
    yield from _twice([*keys.values()], "witnesses", "keys", names=[*keys])
    if ceremony.witnesses.need > len(keys):
        yield ("witnesses", "need"), f"{ceremony.witnesses.need} of {len(keys)}", "as many as are named, or fewer"
    yield from _frame([one.do for one in ceremony.steps])
    yield from _keys(ceremony.steps)


def _twice(values: Sequence[str], *at: str, names: Sequence[str] = ()) -> Iterator[_Fault]:
    for index, one in enumerate(values):
        if one in values[:index]:
            yield (*at, names[index] if names else index), f"{one} twice", "each once"


def _frame(verbs: Sequence[str]) -> Iterator[_Fault]:
    """A token and its domain's key come before all else, and what came of it is recorded when all is done."""
    for verb, place in (("make-token", 0), ("make-kek", 1), ("record", len(verbs) - 1)):
        found = [index for index, one in enumerate(verbs) if one == verb]
        if found != [place]:
            says = " and ".join(f"step {one + 1}" for one in found) or "no step"
            yield ("steps", *found[-1:]), f"{verb} as {says}", f"it once, as step {place + 1}"


def _keys(steps: Sequence[Any]) -> Iterator[_Fault]:
    """Each is made once, and proved after that."""
    made: dict[str, int] = {}
    proved: set[str] = set()
    for index, one in enumerate(steps):
        at = ("steps", index, "label")
        if isinstance(one, MakeKey):
            if one.label in made or one.label in RESERVED:
                yield at, f"{one.label}, which is there by then", "a label of its own"
            made[one.label] = index
        elif isinstance(one, Prove):
            if one.label not in made:
                yield at, f"{one.label}, which no step before makes", f"one of {', '.join(made) or 'none'}"
            proved.add(one.label)
    for label in made.keys() - proved:
        yield ("steps", made[label], "label"), f"{label}, which no step proves", "a step `prove` after it"
