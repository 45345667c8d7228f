"""Ansible's variables of a site's databases, and of the cluster that knows which of them leads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from qhs import etcd
from stacks.model import Estate, backups, bubble
from stacks.model.certificates import service_name
from stacks.model.data import CONNECTIONS, SERVICE, databases, members
from stacks.model.estate import DATABASE, QUORUM, Machine
from stacks.model.objects import STORE
from stacks.model.signing import nearest_stores

GUARD = "/usr/local/lib/qhs-lease-guard/qhs_lease_guard.py"
GATE = [GUARD, "may"]
"""What says whether a member may take writes."""
CHOSEN = [GUARD, "chosen"]
"""What says which site is to take writes."""
SPARE = 20
"""Connections of a server that no application gets: for other members, who provisions, and who looks after it."""


def quorum(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a member of the cluster."""
    return {
        "etcd_members": etcd.members(estate, machine),
        "etcd_name": service_name(estate, QUORUM, machine.site),
    }


def member(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a machine with the data. The own member of the cluster is asked first."""
    agree = sorted(estate.with_role(machine.site, QUORUM), key=lambda one: one.name != machine.name)
    group = estate.inventory.sites[machine.site].groups[machine.group]
    memory = int(group.memory_gib * 1024)
    connections = min(500, max(100, memory // 64))  # design choices: one for 64 MiB, within what a server bears
    return {
        "database_members": members(estate)[machine.site].members,
        "database_quorum": [f"{one.addresses[0]}:{etcd.CLIENTS}" for one in agree],
        "database_service": [text for one in machine.moving for text in one.targets[0].texts()],
        "database_replicas": [one.name for one in estate.machines.values() if DATABASE in one.roles],
        "database_memory_mib": memory,
        "database_connections": connections,
        "database_pool": (connections - SPARE) // len(list(databases(estate))),
        "database_site": machine.site,
        "database_sites": {site: list(one.members.values()) for site, one in members(estate).items()},
        "database_chosen": CHOSEN,
        "database_gate": GATE,
        "database_log_mib": group.disk_gib * 1024 // 4,
        "database_clients": CONNECTIONS * len(members(estate)),
    }


def backup(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a machine with the data: where copies go. A quarter of its disk is for what waits to get there."""
    cluster = backups.clusters(estate)[machine.site]
    group = estate.inventory.sites[machine.site].groups[machine.group]
    return {
        "database_backup_secrets": nearest_stores(estate, machine),
        "database_backup_way_in": backups.way_in(machine.name),
        "database_backup_encrypts": cluster.encrypts,
        "database_backup_identity": cluster.identity,
        "database_backup_bucket": cluster.bucket,
        "database_backup_stores": [
            {"number": number, "site": site, "name": name} for number, (site, name) in cluster.numbered(estate).items()
        ],
        "database_backup_days": backups.DAYS,
        "database_backup_queue_mib": group.disk_gib * 1024 // 4,
    }


def bubbled(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a machine with the data: what it has in a bubble, and whom nothing there must reach."""
    return {
        "bubble_network": bubble.NETWORK,
        "bubble_address": machine.addresses[0],
        "bubble_databases_at": service_name(estate, SERVICE, machine.site),
        "bubble_objects_at": service_name(estate, STORE, machine.site),
        "bubble_secrets": nearest_stores(estate, machine),
        "bubble_way_in": backups.way_in(machine.name),
        "bubble_identity": bubble.IDENTITY,
        "bubble_tenants": {name: asdict(one) for name, one in bubble.tenants(estate, machine.site).items()},
        "bubble_production": [[address, port] for address, port in bubble.production(estate, machine)],
    }
