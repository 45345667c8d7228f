"""What the parts of an application are given at a site: by whom they are let in, and what is theirs there."""

from __future__ import annotations

from dataclasses import dataclass

from stacks.model import certificates, ingress, kubernetes
from stacks.model.cloud import SIGNER, TenantPlace, databases
from stacks.model.data import PASSWORDS
from stacks.model.estate import SECRETS, Estate
from stacks.model.objects import IDENTITIES
from stacks.model.objects import STORE as OBJECTS
from stacks.model.signing import stores

ACCOUNT = "parts"
"""As whom the parts of an application run."""
SIGNS = "application-"
"""How the names of rules for certificates of applications begin."""
HOURS = 72
"""For which a certificate of an application is good; a part of it asks for another each day."""


@dataclass(frozen=True)
class Given:
    """At one site."""

    role: str
    """What the site's secret store calls the application."""
    account: str
    """As tokens of the cluster name its parts."""
    audience: str
    """For whom alone these tokens are."""
    certificate: str
    """The host name that its certificates are for."""
    stores: tuple[str, ...]
    """The nodes of the secret store."""
    databases_at: str
    databases: tuple[str, ...]
    objects_at: str
    buckets: tuple[str, ...]
    archives: tuple[str, ...]
    """Those of the buckets in which nothing can be changed."""
    signer: str
    """Where it has things signed; empty where it signs nothing."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What is its own in the secret store."""
        passwords = [f"{PASSWORDS}/{name}" for name in self.databases]
        return (*passwords, *([f"{IDENTITIES}/{self.role}"] if self.buckets else []))

    @property
    def signs(self) -> str:
        """What the site's authority calls the rules for its certificates."""
        return f"{SIGNS}{self.role}"


def given(estate: Estate, site: str, place: TenantPlace) -> Given:
    """What an application of a site's cluster has there."""
    tenant = estate.catalogue.tenants[place.name]
    return Given(
        role=place.name,
        account=f"system:serviceaccount:{place.name}:{ACCOUNT}",
        audience=certificates.service_name(estate, SECRETS, site),
        certificate=ingress.application(estate, place.name, site),
        stores=tuple(f"{name}.{estate.inventory.domain}" for name in stores(estate)[site]),
        databases_at=certificates.service_name(estate, databases(tenant), site),
        databases=tuple(tenant.databases),
        objects_at=certificates.service_name(estate, OBJECTS, site),
        buckets=tuple(tenant.buckets),
        archives=tuple(tenant.archives),
        signer="" if tenant.signing == "none" else certificates.service_name(estate, SIGNER, site),
    )


def issuer(estate: Estate, site: str) -> str:
    """How the tokens of a site's cluster name it."""
    return f"https://{kubernetes.clusters(estate)[site].name}"
