"""Who signs the certificates of a site's machines once its secret store is there: its key never leaves that."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declarations, Declared
from stacks.components.site_secrets import LET_IN
from stacks.model import Estate
from stacks.model.certificates import ENGINE, HOURS, ROLE, holder, patterns, title, way_in
from stacks.provider.secret.resources import Auth, Mount, PkiAuthority, PkiRole, Policy


class SiteAuthority(Declared):
    """An authority below the estate's root, for the names of the site's own machines, and who may ask it (C-DR-09)."""

    request: pulumi.Output[str]
    """What the root signs, in PEM."""

    def __init__(self, estate: Estate, site: str, certificate: str, opts: pulumi.ResourceOptions | None = None) -> None:
        """`certificate`: of the root, in PEM; empty until it has answered."""
        declared: Declarations = {"owner": "vpqh-attt", "level": 4, "serves": ["S-066", "C-DR-09"]}
        machine = holder(estate, site).name
        super().__init__("qhs:secrets:Authority", f"{site}-authority", **declared, props={"site": site}, opts=opts)
        inside = pulumi.ResourceOptions(parent=self)
        engine = Mount(f"{site}-{ENGINE}", inside, site=site, path=ENGINE, kind="pki", **declared)
        after = pulumi.ResourceOptions(parent=self, depends_on=[engine])
        own = PkiAuthority(
            f"{site}-machines", after, site=site, subject=title(site), certificate=certificate, **declared
        )
        self.request = own.request
        known = patterns(estate, site)
        role = PkiRole(
            f"{site}-{ROLE}", after, site=site, name=ROLE, names=known, addresses=True, hours=HOURS, **declared
        )
        name = way_in(machine)
        rules = {f"{ENGINE}/sign/{ROLE}": ["update"]}
        policy = Policy(name, inside, site=site, name=name, rules=rules, **declared)
        admits = pulumi.ResourceOptions(parent=self, depends_on=[policy, role])
        Auth(name, admits, site=site, name=name, machine=machine, policies=[name], seconds=LET_IN, **declared)
