"""The bubble of a drill: what of a site runs there once more, apart from everything, and whom it must not reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stacks.model.data import SERVICE
from stacks.model.estate import Estate, Machine
from stacks.model.objects import BUBBLE, IDENTITIES, STORE

NETWORK = "192.0.2.0/24"
"""Of its networks: a prefix for documentation, which nobody is routed to (RFC 5737); a design choice."""
TIER = 1
"""The least important one whose applications run in it; a design choice."""
IDENTITY = f"{IDENTITIES}/{BUBBLE}"
"""Where secret stores have the key by which buckets are read."""
SERVICES = (SERVICE, STORE)
"""What those of each site hold, and a bubble must not reach."""


@dataclass(frozen=True)
class Own:
    """What an application has in a bubble."""

    databases: list[str]
    buckets: list[str]


def tenants(estate: Estate, site: str) -> dict[str, Own]:
    """Those that run in the bubble of a site, as they do there; one without databases does not."""
    return {
        name: Own(list(one.databases), list(one.buckets))
        for name, one in estate.catalogue.tenants.items()
        if one.tier <= TIER and one.databases and site in one.sites
    }


def buckets(estate: Estate, site: str) -> list[str]:
    """Those that are copied into the bubble of a site."""
    return [name for one in tenants(estate, site).values() for name in one.buckets]


def production(estate: Estate, machine: Machine) -> Iterator[tuple[str, int]]:
    """IPv4 addresses and ports: of the databases on the machine that a bubble is on, and of what each site keeps."""
    yield machine.addresses[0], _port(estate, SERVICE)
    for site in estate.active_sites:
        for one in estate.served(site):
            if one.service in SERVICES:
                yield one.targets[0].texts()[0], _port(estate, one.service)


def _port(estate: Estate, service: str) -> int:
    return int(estate.catalogue.services[service].ports[0].removeprefix("tcp/"))
