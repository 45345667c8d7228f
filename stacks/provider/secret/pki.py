"""The kinds `qhs:secrets:PkiAuthority` and `qhs:secrets:PkiRole`: who signs certificates at a site, and which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from stacks.model.certificates import ENGINE, own
from stacks.provider.access import TrustAccess
from stacks.provider.inputs import Plain
from stacks.provider.secret.client import Fields, Store
from stacks.provider.secret.handlers import StoreHandler
from stacks.provider.secret.spec import PkiAuthoritySpec, PkiRoleSpec, one_certificate
from stacks.provider.settings import ProviderError

KEY: Final = "authority"
"""What the engine calls the key."""
KEPT: Final = f"{ENGINE}/authority"
"""Where the store's engine for secrets has the request, which is signed once."""
FIXED: Final[dict[str, Any]] = {
    "allow_any_name": False,
    "allow_bare_domains": True,
    "allow_glob_domains": True,
    "allow_localhost": False,
    "allow_subdomains": False,
    "allow_wildcard_certificates": False,
    "allowed_domains_template": False,
    "allowed_other_sans": [],
    "allowed_uri_sans": [],
    "basic_constraints_valid_for_non_ca": True,
    "client_flag": True,
    "code_signing_flag": False,
    "email_protection_flag": False,
    "enforce_hostnames": True,
    "ext_key_usage": [],
    "key_bits": 256,
    "key_type": "ec",
    "key_usage": ["DigitalSignature"],
    "no_store": True,
    "not_before_duration": 300,
    "require_cn": True,
    "server_flag": True,
    "use_csr_common_name": True,
    "use_csr_sans": True,
}
"""What every role has: both sides of a connection, for names that stand in the request and are declared. None is kept:
they end by themselves, and the journals of authority and store have each of them."""


class PkiAuthorityHandler(StoreHandler):
    """What it signed is believed by its certificate, so that it is never taken away."""

    NAMED = "subject"
    SPEC = PkiAuthoritySpec
    TOLD = frozenset({"request"})

    def names(self, found: Store) -> Sequence[str]:
        kept = found.secret(KEPT)
        return [kept["subject"]] if kept else []

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {}

    def write(self, urn: str, inputs: Plain) -> Plain:
        spec = PkiAuthoritySpec.model_validate(inputs)
        with self._store(spec.site) as found:
            request = self._request(found, spec)
            if spec.certificate and spec.certificate != believed(found):
                self._judge(inputs, spec.certificate, request)
                answer = found.write(f"{ENGINE}/intermediate/set-signed", certificate=spec.certificate)
                (issuer,) = answer.get("imported_issuers") or answer["existing_issuers"]
                found.write(f"{ENGINE}/config/issuers", default=issuer)
        return {"request": request}

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._store(inputs["site"]) as found:
            kept, certificate = found.secret(KEPT), believed(found)
        if kept is None:
            return None
        return {**inputs, "subject": kept["subject"], "certificate": certificate}, {"request": kept["request"]}

    def remove(self, urn: str, inputs: Plain) -> None:
        raise ProviderError(
            f"{self.key(inputs)}: no machine of the site could renew its certificate any more; wanted it to be kept. "
            "Way out: declare it again"
        )

    def _request(self, found: Store, spec: PkiAuthoritySpec) -> str:
        """Signed by the key once, and kept. A run that died before it was kept has left the key."""
        kept = found.secret(KEPT)
        if kept is None:
            there = [found.read(f"{ENGINE}/key/{one}") or {} for one in found.names(f"{ENGINE}/keys")]
            made = any(one.get("key_name") == KEY for one in there)
            given = {"key_ref": KEY} if made else {"key_name": KEY, "key_type": "ec", "key_bits": 256}
            kind = "existing" if made else "internal"
            name = {"common_name": spec.subject, "exclude_cn_from_sans": True}
            answer = found.write(f"{ENGINE}/intermediate/generate/{kind}", **name, **given)
            kept = {"subject": spec.subject, "request": answer["csr"]}
            found.keep(KEPT, kept)
        return str(kept["request"])

    def _judge(self, inputs: Plain, pem: str, request: str) -> None:
        """Before anything is installed. Raises ProviderError."""
        certificate = x509.load_pem_x509_certificate(pem.encode())
        root = x509.load_pem_x509_certificate(TrustAccess.read(self.settings.trust_access).root.read_bytes())
        found = ""
        if certificate.public_key() != x509.load_pem_x509_csr(request.encode()).public_key():
            found = "one of another key"
        try:
            certificate.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            found = f"one of {certificate.issuer.rfc4514_string()}"
        if found:
            raise ProviderError(
                f"{self.key(inputs)}: certificate: found {found}; wanted that of the estate's root for the request "
                f"of this resource. Nothing was installed. Way out: take {own(inputs['site'])}.pem from the folder of "
                "certificates (`qhs:certificates`), then `qhs up`, which has the root sign anew"
            )


class PkiRoleHandler(StoreHandler):
    """What differs from `FIXED` is told by name."""

    NAMED = "name"
    SPEC = PkiRoleSpec

    def names(self, found: Store) -> Sequence[str]:
        return found.names(f"{ENGINE}/roles")

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"odd": []}

    def write(self, urn: str, inputs: Plain) -> None:
        spec = PkiRoleSpec.model_validate(inputs)
        ends = f"{spec.hours}h"
        with self._store(spec.site) as found:
            given = {"allowed_domains": spec.names, "allow_ip_sans": spec.addresses, "ttl": ends, "max_ttl": ends}
            found.write(_role(inputs), **FIXED, **given)

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._store(inputs["site"]) as found:
            there = found.read(_role(inputs))
        if there is None:
            return None
        known = {
            "names": sorted(there["allowed_domains"]),
            "addresses": there["allow_ip_sans"],
            "hours": there["max_ttl"] // 3600,
        }
        return {**inputs, **known}, {"odd": odd(there, FIXED)}

    def remove(self, urn: str, inputs: Plain) -> None:
        with self._store(inputs["site"]) as found:
            if found.read(_role(inputs)):
                found.delete(_role(inputs))


def believed(found: Store, engine: str = ENGINE) -> str:
    """The certificate by which the authority of an engine signs; empty: it has none yet."""
    default = (found.read(f"{engine}/config/issuers") or {}).get("default")
    return one_certificate(str((found.read(f"{engine}/issuer/{default}") or {})["certificate"])) if default else ""


def odd(there: Fields, fixed: Fields) -> list[str]:
    """What is otherwise at a role for certificates than every one of its kind is made."""
    return unlike(there, fixed) + (["ttl"] if there["ttl"] != there["max_ttl"] else [])


def unlike(there: Fields, fixed: Fields) -> list[str]:
    """The fields that are otherwise than what is fixed."""
    return sorted(name for name, wanted in fixed.items() if there.get(name) != wanted)


def _role(inputs: Plain) -> str:
    return f"{ENGINE}/roles/{inputs['name']}"
