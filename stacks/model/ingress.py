"""Where people come to applications: by which way in of a site, and by which names."""

from __future__ import annotations

from dataclasses import dataclass

from stacks.model.addresses import Pair
from stacks.model.catalogue import Tenant
from stacks.model.estate import Estate, Machine
from stacks.model.kubernetes import DOMAIN

PEOPLE, VOTES = "ingress", "ballot-ingress"
"""The services. Voting has one of its own, so that whoever floods the other keeps no deputy from it."""
EDGE = "public-edge"
"""The service that lets the public come on to what is public."""
EDGES = "edge"
"""The role of machines that end what comes from outside, and ask here by connections of their own."""
FRONT = "front"
"""What a cluster calls the parts of an application that answer people."""


@dataclass(frozen=True)
class Published:
    """An application that people come to at a site."""

    tenant: str
    name: str
    """By which they ask for it, and which its parts have certificates of."""
    parts: str
    """What its cluster calls these parts: a name that leads to those that are ready."""
    public: bool
    """Anybody may come, over the edge."""


@dataclass(frozen=True)
class WayIn:
    """A service by which people come to applications of a site."""

    service: str
    address: Pair
    published: tuple[Published, ...]

    @property
    def tenants(self) -> set[str]:
        """Whom people come to by it."""
        return {one.tenant for one in self.published}


def label(tenant: str) -> str:
    """The name of an application below the domain of a site."""
    return f"{tenant}.apps"


def application(estate: Estate, tenant: str, site: str) -> str:
    """The host name of an application at a site."""
    return f"{label(tenant)}.{estate.domain(site)}"


def service(tenant: Tenant) -> str | None:
    """The way in to an application; None: nobody but other systems comes."""
    if not (tenant.public or tenant.deputies):
        return None
    return VOTES if tenant.signing == "ballot" else PEOPLE


def ways_in(estate: Estate, site: str) -> dict[str, WayIn]:
    """Those of a site, by service."""
    return {
        one.service: WayIn(one.service, one.targets[0], _published(estate, site, one.service))
        for one in estate.served(site)
        if one.service in (PEOPLE, VOTES)
    }


def names(estate: Estate, machine: Machine) -> list[str]:
    """Of applications, in the certificate of a machine that answers by them."""
    held = {one.service for one in machine.services} & {PEOPLE, VOTES, EDGE}
    found = [one for way in ways_in(estate, machine.site).values() if way.service in held for one in way.published]
    return [one.name for one in (*found, *(public(estate, machine.site) if EDGE in held else ()))]


def public(estate: Estate, site: str) -> tuple[Published, ...]:
    """What the edge of a site lets the public come on to."""
    way = ways_in(estate, site).get(PEOPLE)
    return tuple(one for one in way.published if one.public) if way else ()


def trusted(estate: Estate, way: WayIn) -> list[Pair]:
    """Addresses of machines that ask for others, and say truly for whom: edges that a flow leads from."""
    sources = {one.source.name for one in estate.conversations if way.address in one.target.targets}
    edges = (one for one in estate.machines.values() if EDGES in one.roles and one.interfaces[0].place in sources)
    return [pair for one in edges for pair in (one.interfaces[0].address, *one.answers_at)]


def _published(estate: Estate, site: str, way: str) -> tuple[Published, ...]:
    return tuple(
        Published(name, application(estate, name, site), f"{FRONT}.{name}.svc.{DOMAIN}", one.public)
        for name, one in estate.catalogue.tenants.items()
        if site in one.sites and service(one) == way
    )
