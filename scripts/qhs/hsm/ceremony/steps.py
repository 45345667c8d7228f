"""What each step of a ceremony has devices do, and what they answer then.

An answer is the state that a step left, never whether it was new: a step that is gone on with after a crash answers
as one that was not cut off. Nothing secret is in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from qhs.hsm.ceremony.script import Attributes, MakeKek, MakeKey, MakeToken, Prove, Record, Step
from stacks.provider.secret.client import Store
from stacks.provider.signing.certificates import algorithm_of
from stacks.provider.signing.device import Answer
from stacks.provider.signing.devices import FOUNDED, KEK, Token, hand_over, kept_of, key_at
from stacks.provider.signing.spec import RESERVED

type Answers = dict[str, dict[str, Any]]
"""By device."""

OF_A_KEY = frozenset({"serial", "fingerprint", "fingerprints"})
"""What no two tokens have in common; all else a rehearsal answers as the ceremony does."""
_SHOWN = ("serial", "manufacturer", "model", "flags")
_PROTECTION = tuple(Attributes.model_fields)


@dataclass(frozen=True)
class Bench:
    """The devices of a ceremony, each with the token that it makes, and the secret stores of their sites."""

    label: str
    tokens: Sequence[Token]
    stores: Sequence[Store]

    def found(self) -> list[str]:
        """What is there of this token already. Raises DeviceError, StoreError."""
        tokens = [f"{one.machine}: a token {self.label}" for one in self.tokens if one.there()]
        founded = any(one.secret(key_at(self.label, KEK)) for one in self.stores)
        return tokens + ([f"a secret store that knows the domain {self.label}"] if founded else [])

    def clear(self, labels: Sequence[str]) -> None:
        """Take a rehearsal's token away with all that stores keep of it. Raises DeviceError, StoreError."""
        for one in self.tokens:
            one.remove()
        for store in self.stores:
            for label in (KEK, *labels):
                store.forget(key_at(self.label, label))


def carry_out(step: Step, bench: Bench) -> Answers:
    """Have it done, also where a run that died had begun it. Raises DeviceError, StoreError, ProviderError."""
    match step:
        case MakeToken():
            for one in bench.tokens:
                one.make()
            return {one.machine: _of(one.shown() or {}, _SHOWN) for one in bench.tokens}
        case MakeKek():
            _found_domain(bench)
            return {one.machine: _of(one.keys()[KEK], _PROTECTION) for one in bench.tokens}
        case MakeKey():
            _make_key(step, bench)
            return {one.machine: _key(one.keys()[step.label]) for one in bench.tokens}
        case Prove():
            return {one.machine: _of(one.ask("prove", label=step.label), ("verified",)) for one in bench.tokens}
        case Record():
            return {one.machine: held(one.keys()) for one in bench.tokens}
        case _:
            assert_never(step)


def held(keys: dict[str, Answer]) -> dict[str, Any]:
    """What a token holds for others than its device: labels, and fingerprints."""
    own = {label: one for label, one in keys.items() if label not in RESERVED}
    return {"keys": sorted(own), "fingerprints": {label: fingerprint(one) for label, one in own.items()}}


def fingerprint(key: Answer) -> str:
    """SHA-256 of SubjectPublicKeyInfo in DER, in hexadecimal."""
    return hashlib.sha256(bytes.fromhex(key["public"])).hexdigest()


def faults(step: Step, answers: Answers, devices: Sequence[str]) -> Iterator[str]:
    """What devices answered otherwise than the script expects, or than one another."""
    if sorted(answers) != sorted(devices):
        yield f"found answers of {', '.join(answers)}; wanted them of {', '.join(devices)}"
    expected = step.expect.model_dump() | ({"algorithm": step.algorithm} if isinstance(step, MakeKey) else {})
    for device, answer in answers.items():
        for name, wanted in expected.items():
            if answer.get(name) != wanted:
                yield f"{device}: found {name} {answer.get(name)}; wanted {wanted}"
    for name in ("fingerprint", "fingerprints"):
        if any(answer.get(name) != next(iter(answers.values())).get(name) for answer in answers.values()):
            yield f"found keys that differ between {', '.join(answers)}; wanted one on all"


def comparable(answers: Answers) -> Answers:
    """Without what a key has for itself."""
    return {
        device: {name: value for name, value in answer.items() if name not in OF_A_KEY}
        for device, answer in answers.items()
    }


def _found_domain(bench: Bench) -> None:
    first, *others = bench.tokens
    first.ask("make-kek")
    for store in bench.stores:
        store.keep(key_at(bench.label, KEK), FOUNDED)
    for one in others:
        if not one.keys().get(KEK):
            hand_over(first, one)


def _make_key(step: MakeKey, bench: Bench) -> None:
    first, *others = bench.tokens
    made = first.ask("make-shared-key", label=step.label, algorithm=step.algorithm, use=step.use)
    kept = kept_of(step.label, step.use, made["key"], first)
    for store in bench.stores:
        store.keep(key_at(bench.label, step.label), kept)
    for one in others:
        one.ask("take-key", label=step.label, use=step.use, public=kept["public"], wrapped=kept["wrapped"])


def _key(told: Answer) -> dict[str, Any]:
    algorithm = algorithm_of(bytes.fromhex(told["public"]))
    return {"fingerprint": fingerprint(told), "algorithm": algorithm, **_of(told, _PROTECTION)}


def _of(answer: Answer, names: Sequence[str]) -> dict[str, Any]:
    return {name: answer.get(name) for name in names}
