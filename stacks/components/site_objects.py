"""What a site's object store holds from the beginning, who may come in, and what encrypts the states of the stacks."""

from __future__ import annotations

from collections.abc import Iterable

import pulumi

from stacks.components.declared import Declarations, Declared
from stacks.components.site_secrets import LET_IN
from stacks.model.objects import (
    BUBBLE,
    COPIES,
    IDENTITIES,
    PROVISIONER,
    SNAPSHOTS,
    STATE_KEY,
    STATE_USER,
    STATES,
    ObjectStore,
    TenantUser,
    way_in,
)
from stacks.provider.secret.client import SECRETS, TRANSIT
from stacks.provider.secret.resources import Auth, Mount, Policy, TransitKey
from stacks.provider.storage.resources import Bucket, Identity


class SiteObjects(Declared):
    """A key, buckets, who may use them, and the store's own way to those who may come in (C-BAK-03, S-066).

    The key of a site is in its own secret store, so that no state is of use to whoever has the objects alone.
    """

    def __init__(
        self,
        site: str,
        store: ObjectStore,
        tenants: Iterable[TenantUser],
        reads: list[str],
        opts: pulumi.ResourceOptions,
        *,
        hooks: pulumi.ResourceHookBinding,
    ) -> None:
        """`reads`: the buckets that a drill copies into a bubble; `hooks`: what refuses that a tenant is changed."""
        declared: Declarations = {"owner": "vpqh-du-lieu", "level": 4, "serves": ["S-066", "C-BAK-03", "C-DR-09"]}
        props = {"site": site, "machine": store.machine}
        super().__init__("qhs:storage:Site", f"{site}-objects", **declared, props=props, opts=opts)
        inside = pulumi.ResourceOptions(parent=self)
        engine = Mount(f"{site}-{TRANSIT}", inside, site=site, path=TRANSIT, kind="transit", **declared)
        after = pulumi.ResourceOptions(parent=self, depends_on=[engine])
        TransitKey(f"{site}-{STATE_KEY}", after, site=site, name=STATE_KEY, **declared)
        name = way_in(store.machine)
        rules = {f"{SECRETS}/data/{IDENTITIES}/+": ["read"], f"{SECRETS}/metadata/{IDENTITIES}/": ["list"]}
        policy = Policy(name, inside, site=site, name=name, rules=rules, **declared)
        makes = Identity(f"{site}-{PROVISIONER}", inside, site=site, name=PROVISIONER, rights=["Admin"], **declared)
        uses = [
            Identity(
                f"{site}-{STATE_USER}", inside, site=site, name=STATE_USER, rights=all_of(STATES, COPIES), **declared
            )
        ]
        uses += [
            Identity(
                f"{site}-{one.name}-objects",
                pulumi.ResourceOptions(parent=self, hooks=hooks),
                site=site,
                name=one.name,
                rights=all_of(*one.buckets),
                owner=one.owner,
                level=one.level,
                serves=list(one.serves),
            )
            for one in tenants
        ]
        if reads:
            rights = [f"{right}:{bucket}" for bucket in reads for right in ("Read", "List")]
            uses.append(Identity(f"{site}-{BUBBLE}", inside, site=site, name=BUBBLE, rights=rights, **declared))
        # Last: the store fetches all keys as soon as it is let in, and starts anew once.
        admits = Auth(
            name,
            pulumi.ResourceOptions(parent=self, depends_on=[policy, makes, *uses]),
            site=site,
            name=name,
            machine=store.machine,
            policies=[name],
            seconds=LET_IN,
            **declared,
        )
        reached = pulumi.ResourceOptions(parent=self, depends_on=[admits])
        for bucket in (STATES, COPIES, SNAPSHOTS):
            Bucket(f"{site}-{bucket}", reached, site=site, name=bucket, versioned=True, archive_years=0, **declared)


def all_of(*buckets: str) -> list[str]:
    """The rights of whoever uses these buckets; nobody else does."""
    return [f"{right}:{bucket}" for bucket in buckets for right in ("Read", "Write", "List")]
