"""The service domain: names that lead to whichever site has the lease.

Below it stand names of services and applications that every site with databases has. There each leads on to the same
name below the site's own domain, where the Pulumi stacks keep the address: what a failover moves is in no stack.
"""

from __future__ import annotations

from collections.abc import Iterator

from stacks.model import ingress
from stacks.model.addresses import Pair
from stacks.model.estate import DATABASE, Estate, Machine

LABEL = "svc"
TTL = 5
"""Seconds for which a resolver may believe in the site that had the lease; a design choice (S-025)."""


def domain(estate: Estate) -> str:
    """The service domain."""
    return f"{LABEL}.{estate.inventory.domain}"


def sites(estate: Estate) -> list[str]:
    """Whose authorities answer for it, each while its site has the lease: those that may ever have it."""
    return [site for site in estate.active_sites if estate.with_role(site, DATABASE)]


def labels(estate: Estate) -> list[str]:
    """The names below the service domain, and below the domain of each of those sites."""
    services = [name for name, one in estate.catalogue.services.items() if one.follows_lease]
    return services + [ingress.label(name) for name in _applications(estate)]


def name(estate: Estate, label: str) -> str:
    """The whole name of one of them."""
    return f"{label}.{domain(estate)}"


def of(estate: Estate, machine: Machine) -> list[str]:
    """The whole names by which a machine answers in it, beside those below the domain of its site."""
    if machine.site not in sites(estate):
        return []
    below = f".{estate.domain(machine.site)}"
    known = {one.service for one in (*machine.services, *machine.moving)}
    known |= {one.removesuffix(below) for one in ingress.names(estate, machine)}
    return [name(estate, one) for one in labels(estate) if one in known]


def leads(estate: Estate, label: str) -> dict[str, Pair]:
    """Where one of them leads, by the site that has the lease."""
    return {site: _known(estate, site)[label] for site in sites(estate)}


def _known(estate: Estate, site: str) -> dict[str, Pair]:
    ways = ingress.ways_in(estate, site).values()
    published = {ingress.label(one.tenant): way.address for way in ways for one in way.published}
    return {one.service: one.targets[0] for one in estate.served(site)} | published


def _applications(estate: Estate) -> Iterator[str]:
    """The tenants that people come to, and that run at all of those sites as their tier wants a replica."""
    for name, tenant in estate.catalogue.tenants.items():
        everywhere = set(sites(estate)) <= set(tenant.sites)
        if ingress.service(tenant) and estate.catalogue.tiers[tenant.tier].replica and everywhere:
            yield name
