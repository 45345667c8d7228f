"""The object stores of an estate: where each is, where the state of the stacks is, and what applications have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stacks.model.estate import Estate

STORE = "object-store"
"""The service."""
STATES, COPIES = "pulumi-states", "pulumi-copies"
"""The buckets of a site: the states of its own stacks, and copies of those of others."""
SNAPSHOTS = "secret-snapshots"
"""The bucket of what the secret stores of other sites are restored from."""
STATE_KEY = "pulumi"
"""What the secret store of a site calls the key that the secrets in both are encrypted with."""
STATE_USER = "pulumi"
"""Who reads and writes both."""
PROVISIONER = "provisioner"
"""Who makes buckets."""
BUBBLE = "bubble"
"""Who reads applications' buckets, and changes nothing, for a drill in a bubble."""
IDENTITIES = "objects"
"""Below which path the secret store of a site has who may come in."""
RESERVED = frozenset({STATES, COPIES, SNAPSHOTS, STATE_USER, PROVISIONER, BUBBLE})
"""Buckets, and who comes in, of the estate itself: no application has their names."""


@dataclass(frozen=True)
class ObjectStore:
    """The object store of a site."""

    machine: str
    """The one that has its address."""
    address: str
    name: str
    """What its certificate is for."""


@dataclass(frozen=True)
class TenantBucket:
    """A bucket, which its tenant uses and nobody else."""

    name: str
    tenant: str
    owner: str
    level: int
    serves: tuple[str, ...]
    archive_years: int
    """For how long nobody can change or delete what is written there; 0: it is no archive."""


@dataclass(frozen=True)
class TenantUser:
    """A tenant that comes into the object stores of its sites."""

    name: str
    owner: str
    level: int
    serves: tuple[str, ...]
    buckets: tuple[str, ...]


def way_in(machine: str) -> str:
    """What the secret store of a site calls the way in of a machine of the object store, for these identities alone."""
    return f"objects-{machine}"


def object_stores(estate: Estate) -> dict[str, ObjectStore]:
    """By site; a site without one keeps nothing."""
    return {
        machine.site: ObjectStore(machine.name, one.targets[0].texts()[0], f"{STORE}.{estate.domain(machine.site)}")
        for machine in estate.machines.values()
        for one in machine.services
        if one.service == STORE
    }


def buckets(estate: Estate) -> Iterator[TenantBucket]:
    """Those of all tenants."""
    for name, tenant in estate.catalogue.tenants.items():
        years = estate.catalogue.retention[tenant.level].archive_years
        for one in tenant.buckets:
            kept = years if one in tenant.archives else 0
            yield TenantBucket(one, name, tenant.owner, tenant.level, tuple(tenant.serves), kept)


def users(estate: Estate, site: str) -> Iterator[TenantUser]:
    """The tenants of a site that have buckets."""
    for name, one in estate.catalogue.tenants.items():
        if one.buckets and site in one.sites:
            yield TenantUser(name, one.owner, one.level, tuple(one.serves), tuple(one.buckets))


def others(estate: Estate, home: str) -> list[str]:
    """The sites that have copies of what is at `home`."""
    return [site for site in object_stores(estate) if site != home]
