"""What a site's secret store holds from the beginning: one engine, and each signer's own PINs for it alone."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declarations, Declared
from stacks.model import Estate
from stacks.model.signing import devices, stores
from stacks.provider.secret.client import SECRETS
from stacks.provider.secret.resources import Auth, Mount, Policy

LET_IN = 1200
"""Seconds: who asks for longer shows its certificate again."""


class SiteSecrets(Declared):
    """The engine for secrets, and a policy and a way in for each machine that signs (S-066, C-HSM-05)."""

    def __init__(self, estate: Estate, site: str, opts: pulumi.ResourceOptions | None = None) -> None:
        declared: Declarations = {"owner": "vpqh-attt", "level": 4, "serves": ["S-066", "C-SIG-02"]}
        props = {"site": site, "nodes": list(stores(estate)[site])}
        super().__init__("qhs:secrets:Site", f"{site}-secrets", **declared, props=props, opts=opts)
        inside = pulumi.ResourceOptions(parent=self)
        Mount(f"{site}-{SECRETS}", inside, site=site, path=SECRETS, kind="kv", **declared)
        for machine in devices(estate, site):
            name = f"signer-{machine}"
            rules = {f"{SECRETS}/data/hsm/{machine}/+": ["read"], f"{SECRETS}/data/signing/+/+": ["read"]}
            policy = Policy(name, inside, site=site, name=name, rules=rules, **declared)
            Auth(
                name,
                pulumi.ResourceOptions(parent=self, depends_on=[policy]),
                site=site,
                name=name,
                machine=machine,
                policies=[name],
                seconds=LET_IN,
                **declared,
            )
