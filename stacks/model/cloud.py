"""What applications have in the cluster of each of their sites: a place of their own, and whom they may speak to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stacks.model import ingress, kubernetes
from stacks.model.addresses import Pair
from stacks.model.catalogue import Capacity, Information, Tenant
from stacks.model.data import SERVICE as DATABASES
from stacks.model.estate import SECRETS, WORKER, Estate, Machine
from stacks.model.images import CANARY
from stacks.model.objects import STORE as OBJECTS

PARTS = "pod-network"
"""The service: how the parts of applications reach each other, and that of zones whose applications run in clusters."""
BALLOTS, SIGNER = "ballot-db", "signer"
SIGNATURES = (SIGNER, "time-stamp")
"""The services that votes are kept by, and that keys are used by."""
IDENTITY = "identity"
"""The service that knows everybody: every application asks it (C-IAM-01)."""
PART = {"part": CANARY}
"""Labels of the part that every application has."""
SPREAD = 1
"""The least important tier whose parts stand on two nodes, so that one may go; a design choice."""
TENANT, TIER, ZONE = "tenant", "tier", "zone"
"""Labels of a namespace; nodes of a zone keep away, by the last one, what does not say that it comes to them."""


@dataclass(frozen=True)
class Reach:
    """A service that the parts of an application may ask."""

    service: str
    addresses: tuple[Pair, ...]
    ports: tuple[str, ...]


@dataclass(frozen=True)
class TenantPlace:
    """An application in the cluster of a site."""

    name: str
    owner: str
    level: int
    tier: int
    information: Information
    serves: tuple[str, ...]
    zone: str
    sites: tuple[str, ...]
    """Where it runs."""
    capacity: Capacity
    reaches: tuple[Reach, ...]
    ports: tuple[str, ...]
    """By which its parts reach each other."""
    names: Pair
    """Where they ask for names."""
    people: Pair | None
    """From where people are led to them: the way in to the application; None: it has none."""
    copies: int
    """Of each part, on as many nodes; 0: no node of the site is of its zone."""


def places(estate: Estate, site: str) -> Iterator[TenantPlace]:
    """Those of a site's cluster; a site without one has none."""
    if site not in kubernetes.clusters(estate):
        return
    names, ways = kubernetes.names(estate, site), ingress.ways_in(estate, site)
    parts = estate.catalogue.services[PARTS]
    for name, one in in_clusters(estate).items():
        if site in one.sites:
            yield TenantPlace(
                name,
                one.owner,
                one.level,
                one.tier,
                one.information,
                tuple(one.serves),
                one.zone,
                tuple(one.sites),
                one.capacity,
                tuple(_reaches(estate, site, one)),
                tuple(parts.ports),
                names,
                next((way.address for way in ways.values() if name in way.tenants), None),
                min(len(nodes(estate, site, one.zone)), 2 if one.tier <= SPREAD else 1),
            )


def in_clusters(estate: Estate) -> dict[str, Tenant]:
    """The applications of zones whose applications run in clusters, wherever they run."""
    zones = estate.catalogue.services[PARTS].places
    return {name: one for name, one in estate.catalogue.tenants.items() if one.zone in zones}


def nodes(estate: Estate, site: str, zone: str) -> list[Machine]:
    """Those of a zone that the cluster of a site has."""
    return [one for one in estate.with_role(site, WORKER) if one.interfaces[0].place == f"{site}.{zone}"]


def databases(tenant: Tenant) -> str:
    """The service that has an application's databases: votes are kept by one of their own."""
    return BALLOTS if tenant.signing == "ballot" else DATABASES


def uses(tenant: Tenant) -> tuple[str, ...]:
    """The services that the parts of an application ask: for what it has, and those that it names."""
    return (
        IDENTITY,
        SECRETS,
        *((databases(tenant),) if tenant.databases else ()),
        *((OBJECTS,) if tenant.buckets else ()),
        *(SIGNATURES if tenant.signing != "none" else ()),
        *tenant.uses,
    )


def _reaches(estate: Estate, site: str, tenant: Tenant) -> Iterator[Reach]:
    """Of what flows let pods of its zone reach, that which it uses."""
    source, flows = f"{site}.{tenant.zone}", estate.catalogue.flows
    for service in uses(tenant):
        found = [
            one.target
            for one in estate.conversations
            if one.source.name == source and one.target.service == service and flows[one.flow].pods
        ]
        if found:
            targets = dict.fromkeys(pair for one in found for pair in one.targets)
            yield Reach(service, tuple(targets), found[0].ports)


def priority(tier: int) -> str:
    """What a cluster calls the priority of a tier."""
    return f"{TIER}-{tier}"
