"""What the backups of a site's databases have in common wherever they are: a key to come in, and what encrypts them."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declarations, Declared
from stacks.components.site_objects import all_of
from stacks.model.backups import BACKUPS, Cluster
from stacks.provider.secret.resources import Shared


class ClusterBackups(Declared):
    """Both are in the secret stores of all sites that have copies, on machines that have none (C-BAK-03).

    So what is at another site can be read there once this one is gone (C-BAK-05).
    """

    def __init__(self, one: Cluster, opts: pulumi.ResourceOptions | None = None) -> None:
        declared: Declarations = {
            "owner": "vpqh-du-lieu",
            "level": 4,
            "serves": ["S-044", "C-BAK-01", "C-BAK-03", "C-BAK-05"],
        }
        props = {"site": one.site, "stores": list(one.stores)}
        super().__init__("qhs:data:Backups", f"{one.site}-database-{BACKUPS}", **declared, props=props, opts=opts)
        inside = pulumi.ResourceOptions(parent=self)
        stores = sorted({one.site, *one.stores})
        Shared(
            f"{one.site}-{BACKUPS}-pass", inside, path=one.encrypts, made="pass", beside={}, stores=stores, **declared
        )
        Shared(
            f"{one.site}-{BACKUPS}-key",
            inside,
            path=one.identity,
            made="key",
            beside={"rights": all_of(one.bucket)},
            stores=stores,
            **declared,
        )
