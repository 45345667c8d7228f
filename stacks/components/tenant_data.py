"""What a tenant has in the estate's databases: a database, and the role that alone comes in."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declarations, Declared
from stacks.model.data import CONNECTIONS, TenantDatabase
from stacks.provider.data.resources import Database, Role

ELSEWHERE = ["site"]
"""The inputs of which a change is none: what was declared at one site is at whichever takes writes. Declared at another
it is the same still, which must not be written as something new, and then taken away as the old."""


class TenantData(Declared):
    """A database at the site that takes writes, and its password at every site that the tenant runs at (C-PD-01)."""

    def __init__(
        self,
        one: TenantDatabase,
        site: str,
        hooks: pulumi.ResourceHookBinding,
        keeps: pulumi.ResourceHookBinding,
        opts: pulumi.ResourceOptions,
    ) -> None:
        """`hooks`: what refuses that the role is changed; `keeps`: that the database is, or goes."""
        declared: Declarations = {"owner": one.owner, "level": one.level, "serves": list(one.serves)}
        props = {"site": site, "tenant": one.tenant, "rpo": one.rpo_minutes}
        super().__init__("qhs:data:Tenant", f"{one.name}-data", **declared, props=props, opts=opts)
        stores = sorted({site, *one.sites})
        connections = CONNECTIONS * len(one.sites)
        role = Role(
            f"{one.name}-role",
            pulumi.ResourceOptions(parent=self, hooks=hooks, ignore_changes=ELSEWHERE),
            site=site,
            name=one.name,
            connections=connections,
            stores=stores,
            **declared,
        )
        # Taken away before its role is: what refuses to go keeps all that belongs to it.
        Database(
            f"{one.name}-database",
            pulumi.ResourceOptions(parent=self, depends_on=[role], hooks=keeps, ignore_changes=ELSEWHERE),
            site=site,
            name=one.name,
            tenant=one.tenant,
            role=one.name,
            information=one.information,
            **declared,
        )
