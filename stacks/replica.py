"""The `replica` layer: what exists once for the estate, at the site that takes writes; others have it as data."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pulumi

from stacks.components.cluster_backups import ClusterBackups
from stacks.components.declared import Declared
from stacks.components.frozen import Freezes, Whose, frozen
from stacks.components.kept import kept
from stacks.components.tenant_bucket import tenant_bucket
from stacks.components.tenant_data import TenantData
from stacks.model import Estate
from stacks.model.backups import clusters
from stacks.model.data import databases, members
from stacks.model.objects import buckets, others
from stacks.provider.data.resources import Database, Role
from stacks.provider.inputs import Plain
from stacks.provider.settings import Settings
from stacks.provider.storage.resources import Bucket


class Replica(Declared):
    """Every database of every tenant, in the central tier alone (S-006), every bucket, and what backups need."""

    def __init__(self, estate: Estate, site: str) -> None:
        holding = {at: list(one.members) for at, one in members(estate).items()}
        copies = {"databases": [at for at in holding if at != site], "objects": others(estate, site)}
        super().__init__(
            "qhs:data:Replica",
            "replica",
            owner="vpqh-du-lieu",
            level=4,
            serves=["S-006", "S-004", "C-PD-01", "C-DR-01", "C-DR-03"],
            props={"site": site, "copies": copies, "databases": holding},
        )


def declare(estate: Estate, site: str, freezes: Freezes) -> None:
    """Declare everything, at the site where it begins: what carries it out goes to the one that takes writes.

    What applications have is changed as `freezes` let it.
    """
    inside = pulumi.ResourceOptions(parent=Replica(estate, site))
    for cluster in clusters(estate).values():
        ClusterBackups(cluster, inside)
    hook = freezes.hook(_whose(estate))
    judged = kept({kind: partial(_judge, kind) for kind in (Database.TYPE, Bucket.TYPE)})
    keeps = pulumi.ResourceHookBinding.merge(judged, frozen(hook))
    for one in databases(estate):
        TenantData(one, site, pulumi.ResourceHookBinding(before_update=[hook]), keeps, inside)
    for bucket in buckets(estate):
        tenant_bucket(bucket, site, keeps, inside)


def _whose(estate: Estate) -> Whose:
    """A database and a bucket say it themselves; a role is that of a database, and is asked of only where it stays."""
    roles = {one.name: one.tenant for one in databases(estate)}

    def whose(args: pulumi.ResourceHookArgs) -> str:
        inputs = args.old_inputs or {}
        return str(roles[inputs["name"]] if args.type == Role.TYPE else inputs["tenant"])

    return whose


def _judge(kind: str, urn: str, inputs: Plain) -> None:
    """By what the database or bucket holds; it is asked here, as the plugin is not before an update takes it away."""
    from stacks.provider.keeping import judge  # noqa: PLC0415 - its libraries are slow, and mostly nothing goes

    given = pulumi.Config()
    ssh, trust = (Path(one) if (one := given.get(name)) else None for name in ("sshConfig", "trustAccess"))
    judge(kind, Settings(ssh_config=ssh, trust_access=trust), urn, inputs)
