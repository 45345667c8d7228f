"""Ansible's variables of the clusters of etcd that a machine takes part in."""

from __future__ import annotations

from typing import Any

from stacks.model import Estate, lease
from stacks.model.estate import CONTROL, LEASE, QUORUM, Machine

CLIENTS, PEERS = 2381, 2382
"""The ports of the one of a site."""
LEASE_CLIENTS, LEASE_PEERS = 2379, 2380
"""Those of the lease's store, which may stand beside it."""


def members(estate: Estate, machine: Machine) -> dict[str, str]:
    """Of the cluster of its own site, for databases or for Kubernetes: their addresses."""
    role = QUORUM if QUORUM in machine.roles else CONTROL
    return {one.name: one.addresses[0] for one in estate.with_role(machine.site, role)}


def variables(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a machine that takes part in any, by what each is called there."""
    found: dict[str, Any] = {}
    if QUORUM in machine.roles or CONTROL in machine.roles:
        found["etcd"] = {"members": members(estate, machine), "clients": CLIENTS, "peers": PEERS}
    if LEASE in machine.roles:
        found["lease"] = {"members": lease.members(estate), "clients": LEASE_CLIENTS, "peers": LEASE_PEERS}
    return {"etcd_member_clusters": found} if found else {}
