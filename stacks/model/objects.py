"""The object stores of an estate: where each is, and what the state of the stacks is kept in."""

from __future__ import annotations

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
IDENTITIES = "objects"
"""Below which path the secret store of a site has who may come in."""


@dataclass(frozen=True)
class ObjectStore:
    """The object store of a site."""

    machine: str
    """The one that has its address."""
    address: str
    name: str
    """What its certificate is for."""


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


def others(estate: Estate, home: str) -> list[str]:
    """The sites that have copies of what is at `home`."""
    return [site for site in object_stores(estate) if site != home]
