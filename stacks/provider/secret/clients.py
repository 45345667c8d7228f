"""The kinds `qhs:secrets:ClientAuthority` and `ClientRole`: who is whom at the cluster of a site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from stacks.model.kubernetes import ENGINE
from stacks.provider.inputs import Plain
from stacks.provider.secret.client import Fields, Store
from stacks.provider.secret.handlers import StoreHandler
from stacks.provider.secret.pki import FIXED, believed, odd
from stacks.provider.secret.spec import ClientAuthoritySpec, ClientRoleSpec
from stacks.provider.settings import ProviderError

YEARS: Final = "87600h"
"""For which the authority is good; a new one needs every part of the cluster to be told."""
CLIENT: Final[Fields] = {
    **FIXED,
    "allow_glob_domains": False,
    "allow_ip_sans": False,
    "enforce_hostnames": False,
    "server_flag": False,
    "use_csr_sans": False,
}
"""What every role has: one side of a connection, for one user, whose name is none of a host."""
BOTH: Final[Fields] = {**CLIENT, "server_flag": True, "use_csr_sans": True}
"""What a role of somebody who also answers has: both sides, the other for the host name alone that is declared."""


class ClientAuthorityHandler(StoreHandler):
    """It stands under nobody: a cluster believes it, and no other certificate of the estate makes a user there."""

    NAMED = "subject"
    SPEC = ClientAuthoritySpec
    TOLD = frozenset({"certificate"})

    def names(self, found: Store) -> Sequence[str]:
        certificate = believed(found, ENGINE) if ENGINE + "/" in (found.read("sys/mounts") or {}) else ""
        return [_subject(certificate)] if certificate else []

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {}

    def write(self, urn: str, inputs: Plain) -> Plain:
        spec = ClientAuthoritySpec.model_validate(inputs)
        with self._store(spec.site) as found:
            if not believed(found, ENGINE):
                found.write(f"sys/mounts/{ENGINE}/tune", max_lease_ttl=YEARS)
                name = {"common_name": spec.subject, "exclude_cn_from_sans": True}
                found.write(f"{ENGINE}/root/generate/internal", **name, key_type="ec", key_bits=256, ttl=YEARS)
            return {"certificate": believed(found, ENGINE)}

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._store(inputs["site"]) as found:
            certificate = believed(found, ENGINE)
        if not certificate:
            return None
        return {**inputs, "subject": _subject(certificate)}, {"certificate": certificate}

    def remove(self, urn: str, inputs: Plain) -> None:
        raise ProviderError(
            f"{self.key(inputs)}: no part of the site's cluster could come to its API any more; wanted it to be kept. "
            "Way out: declare it again"
        )


class ClientRoleHandler(StoreHandler):
    """What differs from `CLIENT`, or `BOTH`, is told by name."""

    NAMED = "name"
    SPEC = ClientRoleSpec

    def names(self, found: Store) -> Sequence[str]:
        return found.names(f"{ENGINE}/roles")

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"odd": []}

    def write(self, urn: str, inputs: Plain) -> None:
        spec = ClientRoleSpec.model_validate(inputs)
        groups, ends = [spec.group] if spec.group else [], f"{spec.hours}h"
        names = [spec.user, spec.host] if spec.host else [spec.user]
        with self._store(spec.site) as found:
            found.write(
                _role(inputs),
                **_fixed(spec.host),
                allowed_domains=names,
                organization=groups,
                ttl=ends,
                max_ttl=ends,
            )

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._store(inputs["site"]) as found:
            there = found.read(_role(inputs))
        if there is None:
            return None
        hosts = [one for one in there["allowed_domains"] if "." in one]
        users = [one for one in there["allowed_domains"] if one not in hosts]
        known = {
            "user": ",".join(users),
            "group": ",".join(there["organization"]),
            "host": ",".join(hosts),
            "hours": there["max_ttl"] // 3600,
        }
        return {**inputs, **known}, {"odd": odd(there, _fixed(known["host"]))}

    def remove(self, urn: str, inputs: Plain) -> None:
        with self._store(inputs["site"]) as found:
            if found.read(_role(inputs)):
                found.delete(_role(inputs))


def _subject(pem: str) -> str:
    (name,) = x509.load_pem_x509_certificate(pem.encode()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


def _fixed(host: str) -> Fields:
    return BOTH if host else CLIENT


def _role(inputs: Plain) -> str:
    return f"{ENGINE}/roles/{inputs['name']}"
