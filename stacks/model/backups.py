"""The backups of the databases: those of each site, at its own object store and at those of other sites (S-044)."""

from __future__ import annotations

from dataclasses import dataclass

from stacks.model.data import members
from stacks.model.estate import DATABASE, Estate
from stacks.model.objects import IDENTITIES, object_stores

BACKUPS = "backups"
"""Below which path secret stores have what copies are encrypted by; what their buckets' names begin with."""
DAYS = 28
"""For how long a copy is kept, and the log since; a design choice."""
LOCKED = 14
"""Days in which nobody can change or delete what was written, whoever asks the object store; a design choice."""


@dataclass(frozen=True)
class Cluster:
    """The databases of a site, whose copies are apart from those of all others."""

    site: str
    machines: tuple[str, ...]
    """Those with the data."""
    zones: tuple[str, ...]
    """Where these are."""
    stores: tuple[str, ...]
    """The sites with an object store that has copies."""

    @property
    def bucket(self) -> str:
        """Of each store, and as whom the machines come in there."""
        return bucket(self.site)

    @property
    def encrypts(self) -> str:
        """Where secret stores have what copies are encrypted by."""
        return f"{BACKUPS}/{self.site}"

    @property
    def identity(self) -> str:
        """Where they have the key to the object stores, which find it there too."""
        return f"{IDENTITIES}/{self.bucket}"

    def numbered(self, estate: Estate) -> dict[int, tuple[str, str]]:
        """By number each store's site and name, in the inventory's order, so that it is the same for all clusters."""
        stores = object_stores(estate)
        return {
            number: (site, stores[site].name)
            for number, site in enumerate(estate.inventory.sites, 1)
            if site in self.stores
        }


def bucket(site: str) -> str:
    """What holds the copies of a site's databases, at every store."""
    return f"{BACKUPS}-{site}"


def clusters(estate: Estate) -> dict[str, Cluster]:
    """By site."""
    stores = tuple(object_stores(estate))
    found = {}
    for site, one in members(estate).items():
        zones = {
            port.place.partition(".")[2]
            for machine in estate.with_role(site, DATABASE)
            for port in machine.interfaces[:1]
        }
        found[site] = Cluster(site, tuple(one.members), tuple(sorted(zones)), stores)
    return found


def way_in(machine: str) -> str:
    """What the secret store of a site calls the way in of a machine with databases, to make their copies."""
    return f"{BACKUPS}-{machine}"
