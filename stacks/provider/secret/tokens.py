"""The kinds `qhs:secrets:TokenIssuer` and `TokenRole`: which parts of applications get in by a token of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from stacks.model.kubernetes import ACCOUNTS
from stacks.provider.access import TrustAccess
from stacks.provider.inputs import Plain
from stacks.provider.secret.client import Store
from stacks.provider.secret.handlers import StoreHandler
from stacks.provider.secret.pki import unlike
from stacks.provider.secret.spec import TokenIssuerSpec, TokenRoleSpec
from stacks.provider.settings import ProviderError

WAY: Final = "jwt"
"""The path of the way in, and its kind."""
FIXED: Final[dict[str, Any]] = {"role_type": "jwt", "user_claim": "sub", "token_no_default_policy": True}
"""What every role has: who shows a token is whom it names, and may what its own policies say alone."""


class TokenIssuerHandler(StoreHandler):
    """The store verifies a token by the cluster's public key and asks nobody, so that no API must answer for it."""

    NAMED = "issuer"
    SPEC = TokenIssuerSpec
    TOLD = frozenset({"root"})

    def names(self, found: Store) -> Sequence[str]:
        there = _issuer(found)
        return [there["bound_issuer"]] if there else []

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"verifies": "the cluster's"}

    def write(self, urn: str, inputs: Plain) -> Plain:
        spec = TokenIssuerSpec.model_validate(inputs)
        with self._store(spec.site) as found:
            key = self._key(found, spec.site)
            if not _is_there(found):
                found.write(f"sys/auth/{WAY}", type=WAY)
            given = {"jwt_validation_pubkeys": [key], "bound_issuer": spec.issuer, "jwt_supported_algs": ["ES256"]}
            found.write(f"auth/{WAY}/config", **given)
        return {"root": self._root()}

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._store(inputs["site"]) as found:
            there = _issuer(found)
            if there is None:
                return None
            own = there["jwt_validation_pubkeys"] == [self._key(found, inputs["site"])]
        outputs = {"verifies": "the cluster's" if own else "another", "root": self._root()}
        return {**inputs, "issuer": there["bound_issuer"]}, outputs

    def remove(self, urn: str, inputs: Plain) -> None:
        """With all its roles; not where another issuer has taken over, as it did so at the same path."""
        with self._store(inputs["site"]) as found:
            there = _issuer(found)
            if there and there["bound_issuer"] == inputs["issuer"]:
                found.delete(f"sys/auth/{WAY}")

    def _key(self, found: Store, site: str) -> str:
        """The public half of what the cluster signs tokens by. Raises ProviderError where it never had any."""
        kept = found.secret(ACCOUNTS)
        if kept is None:
            raise ProviderError(
                f"{site}: found no {ACCOUNTS} in its secret store; wanted what its control planes sign tokens by. "
                "Way out: see `journalctl -u qhs-cluster-identity` at one of them, which makes it"
            )
        private = load_pem_private_key(kept["key"].encode(), None)
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return public.decode().strip()

    def _root(self) -> str:
        return TrustAccess.read(self.settings.trust_access).root.read_text()


class TokenRoleHandler(StoreHandler):
    """What differs from `FIXED` is told by name."""

    NAMED = "name"
    SPEC = TokenRoleSpec

    def names(self, found: Store) -> Sequence[str]:
        return found.names(f"auth/{WAY}/role") if _is_there(found) else []

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"odd": []}

    def write(self, urn: str, inputs: Plain) -> None:
        spec = TokenRoleSpec.model_validate(inputs)
        with self._store(spec.site) as found:
            found.write(
                _role(inputs),
                **FIXED,
                bound_subject=spec.account,
                bound_audiences=[spec.audience],
                token_policies=spec.policies,
                token_ttl=spec.seconds,
                token_max_ttl=spec.seconds,
            )

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._store(inputs["site"]) as found:
            there = found.read(_role(inputs))
        if there is None:
            return None
        known = {
            "account": there["bound_subject"],
            "audience": ", ".join(there["bound_audiences"] or ["(any)"]),
            "policies": sorted(there["token_policies"] or []),
            "seconds": there["token_ttl"],
        }
        return {**inputs, **known}, {"odd": unlike(there, FIXED)}

    def remove(self, urn: str, inputs: Plain) -> None:
        with self._store(inputs["site"]) as found:
            if found.read(_role(inputs)):
                found.delete(_role(inputs))


def _is_there(found: Store) -> bool:
    return f"{WAY}/" in (found.read("sys/auth") or {})


def _issuer(found: Store) -> dict[str, Any] | None:
    return found.read(f"auth/{WAY}/config") if _is_there(found) else None


def _role(inputs: Plain) -> str:
    return f"auth/{WAY}/role/{inputs['name']}"
