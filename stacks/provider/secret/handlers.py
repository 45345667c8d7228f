"""The kinds `qhs:secrets:*`: each stands at one path of the API of a site's secret store."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from stacks.provider.access import TrustAccess
from stacks.provider.base import Standing
from stacks.provider.inputs import Plain
from stacks.provider.secret.client import TRANSIT, Fields, Store, StoreError
from stacks.provider.secret.spec import (
    AuthSpec,
    MountSpec,
    PolicySpec,
    StoreInput,
    TransitKeySpec,
    policy_rules,
    policy_text,
    policy_writer,
)
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError
from stacks.provider.specified import SpecifiedHandler


class StoreHandler(SpecifiedHandler):
    """What is the same for every kind."""

    SPEC: ClassVar[type[StoreInput]]

    def key(self, inputs: Plain) -> str:
        return f"{inputs['site']}/{inputs[self.NAMED]}"

    def list(self) -> list[Standing]:
        """At every site."""
        found = []
        for site in TrustAccess.read(self.settings.trust_access).stores:
            with self._store(site) as there:
                names = self.names(there)
            for name in names:
                if read := self.read(f"{site}/{name}", {"site": site, self.NAMED: name}):
                    inputs, outputs = read
                    found.append(Standing(f"{site}/{name}", outputs.get("writer") or None, {**inputs, **outputs}))
        return found

    @abstractmethod
    def names(self, found: Store) -> Sequence[str]:
        """Of all of this kind that a store has."""

    @contextmanager
    def _store(self, site: str) -> Iterator[Store]:
        """Its faults are the user's news."""
        try:
            yield store(self.settings, site)
        except StoreError as error:
            raise ProviderError(str(error)) from error


class MountHandler(StoreHandler):
    """Engines. What an engine holds goes with it, so it is never taken away."""

    NAMED = "path"
    SPEC = MountSpec

    def names(self, found: Store) -> Sequence[str]:
        return [path.rstrip("/") for path in found.read("sys/mounts") or {}]

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {}

    def write(self, urn: str, inputs: Plain) -> None:
        spec = MountSpec.model_validate(inputs)
        with self._store(spec.site) as found:
            there = _mount(found, spec.path)
            if there is None:
                options = {"options": {"version": "2"}} if spec.kind == "kv" else {}
                found.write(f"sys/mounts/{spec.path}", type=spec.kind, **options)
            elif there != spec.kind:
                raise ProviderError(
                    f"{self.key(inputs)}: found an engine {there}; wanted {spec.kind}. Way out: another path, as what "
                    "it holds would be lost"
                )

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._store(inputs["site"]) as found:
            there = _mount(found, inputs["path"])
        return ({**inputs, "kind": there}, {}) if there else None

    def remove(self, urn: str, inputs: Plain) -> None:
        raise ProviderError(
            f"{self.key(inputs)}: what it holds would be gone with it; wanted to be kept. Way out: declare it again, "
            "or empty it and take it away at the store by hand"
        )


class PolicyHandler(StoreHandler):
    """Policies, each with a line that says whose it is."""

    NAMED = "name"
    SPEC = PolicySpec

    def names(self, found: Store) -> Sequence[str]:
        return found.names("sys/policies/acl")

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"writer": urn}

    def write(self, urn: str, inputs: Plain) -> None:
        with self._store(inputs["site"]) as found:
            found.write(_policy(inputs), policy=policy_text(inputs["rules"], urn))

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._store(inputs["site"]) as found:
            there = found.read(_policy(inputs))
        if there is None:
            return None
        text = there["policy"]
        return {**inputs, "rules": policy_rules(text)}, {"writer": policy_writer(text) or ""}

    def remove(self, urn: str, inputs: Plain) -> None:
        with self._store(inputs["site"]) as found:
            there = found.read(_policy(inputs))
            if there and policy_writer(there["policy"]) == urn:
                found.delete(_policy(inputs))


class AuthHandler(StoreHandler):
    """Who gets in by a certificate. The store shows the writer's URN to its audit log as the name of who got in."""

    NAMED = "name"
    SPEC = AuthSpec

    def names(self, found: Store) -> Sequence[str]:
        return found.names("auth/cert/certs")

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"writer": urn, "root": "the estate's"}

    def write(self, urn: str, inputs: Plain) -> None:
        spec = AuthSpec.model_validate(inputs)  # the engine's numbers are no integers
        with self._store(spec.site) as found:
            found.write(
                _cert(inputs),
                certificate=self._root(),
                allowed_common_names=[spec.machine],
                token_policies=spec.policies,
                token_ttl=spec.seconds,
                token_max_ttl=spec.seconds,
                display_name=urn,
            )

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._store(inputs["site"]) as found:
            there = found.read(_cert(inputs))
        if there is None:
            return None
        root = "the estate's" if there["certificate"].strip() == self._root().strip() else "another"
        return {**inputs, **_let_in(there)}, {"writer": there["display_name"], "root": root}

    def remove(self, urn: str, inputs: Plain) -> None:
        with self._store(inputs["site"]) as found:
            there = found.read(_cert(inputs))
            if there and there["display_name"] == urn:
                found.delete(_cert(inputs))

    def _root(self) -> str:
        return TrustAccess.read(self.settings.trust_access).root.read_text()


class TransitKeyHandler(StoreHandler):
    """Keys. What was encrypted goes with a key, so it is never taken away."""

    NAMED = "name"
    SPEC = TransitKeySpec

    def names(self, found: Store) -> Sequence[str]:
        return found.names(f"{TRANSIT}/keys")

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"exportable": False}

    def write(self, urn: str, inputs: Plain) -> None:
        with self._store(inputs["site"]) as found:
            there = found.read(_transit(inputs))
            if there is None:
                found.write(_transit(inputs), type="aes256-gcm96")
            elif there["exportable"]:
                raise ProviderError(
                    f"{self.key(inputs)}: found a key that may leave the store; wanted one that cannot, and no key "
                    "is ever made so later. Way out: another name for a new one, and encrypt anew what it encrypted"
                )

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._store(inputs["site"]) as found:
            there = found.read(_transit(inputs))
        return (inputs, {"exportable": there["exportable"]}) if there else None

    def remove(self, urn: str, inputs: Plain) -> None:
        raise ProviderError(
            f"{self.key(inputs)}: what it encrypted could never be read again; wanted to be kept. Way out: declare it "
            "again"
        )


def _mount(store: Store, path: str) -> str | None:
    """The kind of the engine at a path."""
    there: dict[str, Any] = store.read("sys/mounts") or {}
    found = there.get(f"{path}/")
    return found and str(found["type"])


def _policy(inputs: Plain) -> str:
    return f"sys/policies/acl/{inputs['name']}"


def _transit(inputs: Plain) -> str:
    return f"{TRANSIT}/keys/{inputs['name']}"


def _cert(inputs: Plain) -> str:
    return f"auth/cert/certs/{inputs['name']}"


def _let_in(there: Fields) -> Plain:
    """Whom a way in lets in and to what; several machines in one text, as none is declared so."""
    return {
        "machine": ", ".join(there["allowed_common_names"] or ["(any)"]),
        "policies": sorted(there["token_policies"]),
        "seconds": there["token_ttl"],
    }
