"""Ansible's variables of the lease: of the members of its store, and of the databases that take writes by it."""

from __future__ import annotations

from typing import Any

from stacks.model import Estate, lease
from stacks.model.data import active
from stacks.model.estate import LEASE, Machine

FOLLOWS = ["/usr/local/lib/qhs-database/qhs_database_site.py", "follow"]
"""What has the databases of a site be what they are to be."""


def variables(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a machine that has a part in it."""
    keeps = _member(estate) if LEASE in machine.roles else {}
    return keeps | (_holder(estate, machine) if machine.name in lease.holders(estate) else {})


def _member(estate: Estate) -> dict[str, Any]:
    """Of a member of the store."""
    return {
        "lease_members": lease.members(estate),
        "lease_names": lease.names(estate),
        "lease_holders": lease.holders(estate),
        "lease_founds": active(estate),
        "lease_seconds": lease.SECONDS,
    }


def _holder(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a machine whose database takes writes while its site has the lease."""
    return {
        "lease_guard_doors": lease.doors(estate, machine),
        "lease_guard_seconds": lease.READ_ONLY_AFTER,
        "lease_guard_site": machine.site,
        "lease_guard_follows": FOLLOWS,
    }
