"""Ansible's variables of what copies applications' buckets from the site that has the lease."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from stacks.model import Estate, lease, object_sync
from stacks.model.estate import Machine
from stacks.model.objects import buckets


def variables(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a machine of the store."""
    theirs = list(buckets(estate))
    return {
        "object_sync_addresses": machine.addresses,
        "object_sync_doors": lease.doors(estate, machine),
        "object_sync_peers": [asdict(one) for one in object_sync.peers(estate, machine.site)],
        "object_sync_buckets": [one.name for one in theirs],
        "object_sync_archives": [one.name for one in theirs if one.archive_years],
        "object_sync_excluded": object_sync.own(estate),
        "object_sync_may_seconds": object_sync.may_seconds(estate),
    }
