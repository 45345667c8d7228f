"""The names of a site's services and applications: what stands at an address there can be asked for by its name."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declared
from stacks.model import Estate
from stacks.model.addresses import Pair
from stacks.model.catalogue import Service, Tenant
from stacks.model.certificates import service_name
from stacks.model.ingress import ways_in
from stacks.provider.record.resource import Record

TTL = 60
"""Seconds for which a resolver may believe an old address: names move in a failover, and most of its time is this."""


class ServiceNames(Declared):
    """A Record for each service that a machine of the site holds, and each application that people come to there, by
    the declarations of the service or the application (C-DR-09).

    The names of machines are not among them: the role `dns` has those from the same estate, for the time before any
    stack is applied.
    """

    def __init__(self, estate: Estate, site: str, opts: pulumi.ResourceOptions | None = None) -> None:
        served = {one.service: one for one in estate.served(site)}
        services = {name: estate.catalogue.services[name] for name in served}
        self._domain = estate.domain(site)
        super().__init__(
            "qhs:dns:ServiceNames",
            f"{site}-names",
            owner="vpqh-cntt",
            level=max(service.level for service in services.values()),
            serves=["S-018", "C-DR-09"],
            props={"site": site, "domain": self._domain},
            opts=opts,
        )
        for name, service in services.items():
            self._record(estate, service_name(estate, name, site), served[name].targets[0], service)
        for way in ways_in(estate, site).values():
            for one in way.published:
                self._record(estate, one.name, way.address, estate.catalogue.tenants[one.tenant])

    def _record(self, estate: Estate, name: str, address: Pair, of: Service | Tenant) -> None:
        title = name.removesuffix(f".{estate.inventory.domain}")
        Record(
            title,
            name=name,
            domain=self._domain,
            ttl=TTL,
            addresses=address.texts(),
            owner=of.owner,
            level=of.level,
            serves=list(of.serves),
            opts=pulumi.ResourceOptions(parent=self),
        )
