"""The names of a site's services: what stands at an address there can be asked for by its name."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declared
from stacks.model import Estate
from stacks.provider.record.resource import Record

TTL = 60
"""Seconds for which a resolver may believe an old address: names move in a failover, and most of its time is this."""


class ServiceNames(Declared):
    """A Record for each service that a machine of the site holds, by the declarations of the service (C-DR-09).

    The names of machines are not among them: the role `dns` has those from the same estate, for the time before any
    stack is applied.
    """

    def __init__(self, estate: Estate, site: str, opts: pulumi.ResourceOptions | None = None) -> None:
        served = {one.service: one for one in estate.served(site)}
        services = {name: estate.catalogue.services[name] for name in served}
        domain = estate.domain(site)
        super().__init__(
            "qhs:dns:ServiceNames",
            f"{site}-names",
            owner="vpqh-cntt",
            level=max(service.level for service in services.values()),
            serves=["S-018", "C-DR-09"],
            props={"site": site, "domain": domain},
            opts=opts,
        )
        for name, service in services.items():
            Record(
                f"{name}.{site}",
                name=f"{name}.{domain}",
                domain=domain,
                ttl=TTL,
                addresses=served[name].targets[0].texts(),
                owner=service.owner,
                level=service.level,
                serves=list(service.serves),
                opts=pulumi.ResourceOptions(parent=self),
            )
