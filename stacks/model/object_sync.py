"""Applications' buckets at more than one site: which machines copy them, and how far behind a copy may be."""

from __future__ import annotations

from dataclasses import dataclass

from stacks.model import backups, certificates
from stacks.model.estate import Estate
from stacks.model.objects import COPIES, PROVISIONER, SNAPSHOTS, STATE_USER, STATES, buckets, object_stores

LEAST = 60
"""Seconds behind at which an alert is due at the earliest, whatever an application wants: a copy of objects is never
made in the same step, so none has an objective of nothing. What may not be lost at all is written to a database."""
FIRST_PORT = 18100
"""In the network of a store, where nobody else is, the first of two that lead to each store of another site."""


@dataclass(frozen=True)
class Peer:
    """The machine with the store of another site, as the one of a site knows it."""

    site: str
    name: str
    authority: str
    """Whom its certificate is from."""
    address: str
    ports: tuple[int, int]
    """That lead to it."""


def peers(estate: Estate, site: str) -> list[Peer]:
    """Of the store of a site."""
    others = [one for one in object_stores(estate).items() if one[0] != site]
    return [
        Peer(
            other,
            store.machine,
            certificates.title(other),
            estate.machines[store.machine].addresses[0],
            (FIRST_PORT + 2 * number, FIRST_PORT + 2 * number + 1),
        )
        for number, (other, store) in enumerate(others)
    ]


def own(estate: Estate) -> list[str]:
    """The buckets of the estate itself, of which each site has its own."""
    return [STATES, COPIES, SNAPSHOTS, *(backups.bucket(site) for site in backups.clusters(estate))]


def estates(estate: Estate) -> list[str]:
    """Who comes in for the estate and changes its own buckets at any site: applications do where the lease is."""
    return [PROVISIONER, STATE_USER, *(backups.bucket(site) for site in backups.clusters(estate))]


def may_seconds(estate: Estate) -> int:
    """How far behind a copy may be: as far as the strictest of those who have buckets wants, in seconds."""
    tenants, tiers = estate.catalogue.tenants, estate.catalogue.tiers
    wanted = [tiers[tenants[one.tenant].tier].rpo_minutes * 60 for one in buckets(estate)]
    return max(LEAST, min(wanted, default=0))
