"""Ansible's variables of a site's databases, and of the cluster that knows which of them leads."""

from __future__ import annotations

from typing import Any

from stacks.model import Estate
from stacks.model.certificates import service_name
from stacks.model.data import CONNECTIONS, SERVICE, databases, members
from stacks.model.estate import DATABASE, QUORUM, Machine

CLIENTS = 2381
"""The port on which the cluster is asked."""
SPARE = 20
"""Connections of a server that no application gets: for other members, who provisions, and who looks after it."""


def quorum(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a member of the cluster."""
    return {
        "etcd_members": {one.name: one.addresses[0] for one in estate.with_role(machine.site, QUORUM)},
        "etcd_name": service_name(estate, QUORUM, machine.site),
    }


def member(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a machine with the data. The own member of the cluster is asked first."""
    agree = sorted(estate.with_role(machine.site, QUORUM), key=lambda one: one.name != machine.name)
    service = next(one for one in machine.moving if one.service == SERVICE)
    group = estate.inventory.sites[machine.site].groups[machine.group]
    memory = int(group.memory_gib * 1024)
    connections = min(500, max(100, memory // 64))  # design choices: one for 64 MiB, within what a server bears
    return {
        "database_members": members(estate)[machine.site].members,
        "database_quorum": [f"{one.addresses[0]}:{CLIENTS}" for one in agree],
        "database_service": service.targets[0].texts(),
        "database_replicas": [one.name for one in estate.machines.values() if DATABASE in one.roles],
        "database_memory_mib": memory,
        "database_connections": connections,
        "database_pool": (connections - SPARE) // len(list(databases(estate))),
        "database_clients": CONNECTIONS * len(members(estate)),
    }
