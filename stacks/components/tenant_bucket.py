"""What a tenant has in the estate's object store, once for the estate."""

from __future__ import annotations

import pulumi

from stacks.components.tenant_data import ELSEWHERE
from stacks.model.objects import TenantBucket
from stacks.provider.storage.resources import Bucket


def tenant_bucket(
    one: TenantBucket, site: str, keeps: pulumi.ResourceHookBinding, opts: pulumi.ResourceOptions
) -> Bucket:
    """A bucket at the site that takes writes. What is written over is kept, and of an archive nothing goes (S-056).

    `keeps`: what refuses that it is changed, or goes.
    """
    return Bucket(
        f"{one.name}-bucket",
        pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(hooks=keeps, ignore_changes=ELSEWHERE)),
        site=site,
        name=one.name,
        tenant=one.tenant,
        versioned=True,
        archive_years=one.archive_years,
        owner=one.owner,
        level=one.level,
        serves=list(one.serves),
    )
