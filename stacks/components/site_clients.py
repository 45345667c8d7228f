"""Who is whom at the cluster of a site: its secret store says so, and what all its control planes have in common."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declarations, Declared
from stacks.components.site_secrets import LET_IN
from stacks.model import Estate
from stacks.model.estate import CONTROL
from stacks.model.kubernetes import (
    ENGINE,
    HOURS,
    OPERATOR,
    OPERATOR_GROUP,
    OPERATOR_HOURS,
    SHARED,
    authority,
    members,
    parts,
    way_in,
)
from stacks.provider.secret.client import SECRETS
from stacks.provider.secret.resources import Auth, ClientAuthority, ClientRole, Mount, Policy


class SiteClients(Declared):
    """An authority for the parts of a cluster, and each machine's way to certificates of its own parts (C-K8S-01).

    No part has a token that does not end, and none of another machine's or of another site's is let in.
    """

    certificate: pulumi.Output[str]
    """Of that authority, in PEM."""

    def __init__(self, estate: Estate, site: str, opts: pulumi.ResourceOptions | None = None) -> None:
        declared: Declarations = {"owner": "vpqh-cntt", "level": 4, "serves": ["S-001", "C-K8S-01", "C-K8S-02"]}
        super().__init__("qhs:secrets:Clients", f"{site}-clients", **declared, props={"site": site}, opts=opts)
        inside = pulumi.ResourceOptions(parent=self)
        engine = Mount(f"{site}-{ENGINE}", inside, site=site, path=ENGINE, kind="pki", **declared)
        after = pulumi.ResourceOptions(parent=self, depends_on=[engine])
        issuing = ClientAuthority(f"{site}-{ENGINE}-authority", after, site=site, subject=authority(site), **declared)
        self.certificate = issuing.certificate
        after = pulumi.ResourceOptions(parent=self, depends_on=[issuing])
        machines = members(estate, site)
        known = {part.name: part for machine in machines for part in parts(estate, machine)}
        roles = [
            ClientRole(
                f"{site}-{name}",
                after,
                site=site,
                name=name,
                user=one.user,
                group=one.group,
                host=one.host,
                hours=HOURS,
                **declared,
            )
            for name, one in known.items()
        ]
        ClientRole(
            f"{site}-{OPERATOR}",
            after,
            site=site,
            name=OPERATOR,
            user=OPERATOR,
            group=OPERATOR_GROUP,
            hours=OPERATOR_HOURS,
            **declared,
        )
        for machine in machines:
            name = way_in(machine.name)
            rules = {f"{ENGINE}/sign/{part.name}": ["update"] for part in parts(estate, machine)}
            if CONTROL in machine.roles:
                rules[f"{SECRETS}/data/{SHARED}/+"] = ["create", "read"]
            policy = Policy(name, inside, site=site, name=name, rules=rules, **declared)
            admits = pulumi.ResourceOptions(parent=self, depends_on=[policy, *roles])
            Auth(name, admits, site=site, name=name, machine=machine.name, policies=[name], seconds=LET_IN, **declared)
