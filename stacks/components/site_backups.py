"""What a site has for backups: room at its object store, and each machine's way to what its own are encrypted by."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declarations, Declared
from stacks.components.site_secrets import LET_IN
from stacks.model import Estate
from stacks.model.backups import BACKUPS, LOCKED, clusters, way_in
from stacks.model.bubble import IDENTITY
from stacks.model.objects import ObjectStore
from stacks.provider.secret.client import SECRETS
from stacks.provider.secret.resources import Auth, Policy
from stacks.provider.storage.resources import Bucket


class SiteBackups(Declared):
    """A bucket for each site's databases, from which nothing goes before its time (C-BAK-01).

    A machine reads what the copies of its own databases are encrypted by, at its own site, and nothing of others'; and
    what a bubble of it reads buckets by.
    """

    def __init__(
        self, estate: Estate, site: str, store: ObjectStore, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        declared: Declarations = {"owner": "vpqh-du-lieu", "level": 4, "serves": ["S-044", "C-BAK-01", "C-BAK-03"]}
        kept = [one for one in clusters(estate).values() if site in one.stores]
        props = {
            "site": site,
            "machine": store.machine,
            "zone": estate.machines[store.machine].interfaces[0].place.partition(".")[2],
            "sources": {one.site: list(one.machines) for one in kept},
            "zones": {one.site: list(one.zones) for one in kept},
        }
        super().__init__("qhs:storage:Backups", f"{site}-{BACKUPS}", **declared, props=props, opts=opts)
        inside = pulumi.ResourceOptions(parent=self)
        for one in kept:
            Bucket(
                f"{site}-{one.bucket}",
                inside,
                site=site,
                name=one.bucket,
                versioned=True,
                archive_years=0,
                locked_days=LOCKED,
                **declared,
            )
        own = clusters(estate).get(site)
        for machine in own.machines if own else ():
            name = way_in(machine)
            paths = (own.encrypts, own.identity, IDENTITY) if own else ()
            rules = {f"{SECRETS}/data/{path}": ["read"] for path in paths}
            policy = Policy(name, inside, site=site, name=name, rules=rules, **declared)
            admits = pulumi.ResourceOptions(parent=self, depends_on=[policy])
            Auth(name, admits, site=site, name=name, machine=machine, policies=[name], seconds=LET_IN, **declared)
