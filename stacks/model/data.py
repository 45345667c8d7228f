"""The databases of the estate: one for each that a tenant has, at one site, copied to the others as a whole (S-006)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stacks.model.catalogue import Information
from stacks.model.certificates import service_name
from stacks.model.estate import DATABASE, Estate

SERVICE = "postgres"
PROVISIONER = "provisioner"
"""Who makes roles and databases."""
RESERVED = frozenset({"postgres", "template0", "template1", "replicator", "rewinder", "pooler", PROVISIONER})
"""What the servers call their own databases and roles."""
CONNECTIONS = 20
"""How many a tenant may have at a time at each of its sites; a design choice."""
LOGGED: Information = "personal"
"""The class of information of which servers log every statement (C-PD-01)."""
PASSWORDS = "databases"
"""Below which path secret stores have the passwords of roles."""


@dataclass(frozen=True)
class TenantDatabase:
    """A database, and the role of the same name that alone comes in."""

    name: str
    tenant: str
    owner: str
    level: int
    serves: tuple[str, ...]
    information: Information
    sites: tuple[str, ...]
    """Where the tenant runs."""
    rpo_minutes: int
    """How much of what it wrote may be lost, by its tier."""


@dataclass(frozen=True)
class Members:
    """The machines of a site that have its databases."""

    name: str
    """What the certificates of all of them are for."""
    members: dict[str, str]
    """Their addresses."""


def databases(estate: Estate) -> Iterator[TenantDatabase]:
    """All of the estate."""
    for name, tenant in estate.catalogue.tenants.items():
        for one in tenant.databases:
            yield TenantDatabase(
                one,
                name,
                tenant.owner,
                tenant.level,
                tuple(tenant.serves),
                tenant.information,
                tuple(tenant.sites),
                estate.catalogue.tiers[tenant.tier].rpo_minutes,
            )


def members(estate: Estate) -> dict[str, Members]:
    """By site, of those that have databases."""
    found = {site: estate.with_role(site, DATABASE) for site in estate.active_sites}
    return {
        site: Members(service_name(estate, SERVICE, site), {one.name: one.addresses[0] for one in machines})
        for site, machines in found.items()
        if machines
    }


def may_lack_seconds(estate: Estate) -> int:
    """How old a copy at another site may be: as the strictest tier with a replica wants that may lose anything at all.

    What may lose nothing is confirmed within the site; no copy at another one is made in the same step.
    """
    tiers = estate.catalogue.tiers.values()
    return min(one.rpo_minutes * 60 for one in tiers if one.replica and one.rpo_minutes)


def active(estate: Estate) -> str | None:
    """The site where databases are declared and take writes at first; none where no site has any.

    From then on the lease says where they take writes: what is declared goes there.
    """
    site = estate.inventory.signing.founds
    return site if site in members(estate) else None
