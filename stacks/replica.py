"""The `replica` layer: what exists once for the estate, at the site that takes writes; others have it as data."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declared
from stacks.components.tenant_bucket import tenant_bucket
from stacks.components.tenant_data import TenantData
from stacks.model import Estate
from stacks.model.data import databases
from stacks.model.objects import buckets


class Replica(Declared):
    """Every database of every tenant, in the central tier alone (S-006), and every bucket."""

    def __init__(self, site: str) -> None:
        super().__init__(
            "qhs:data:Replica",
            "replica",
            owner="vpqh-du-lieu",
            level=4,
            serves=["S-006", "S-004", "C-PD-01"],
            props={"site": site},
        )


def declare(estate: Estate, site: str) -> None:
    """Declare everything at the site that takes writes."""
    inside = pulumi.ResourceOptions(parent=Replica(site))
    for one in databases(estate):
        TenantData(one, site, inside)
    for bucket in buckets(estate):
        tenant_bucket(bucket, site, inside)
