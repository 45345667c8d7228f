"""Ansible's variables of a site's object store: where it answers, and who tells it whom to let in."""

from __future__ import annotations

from typing import Any

from stacks.model import Estate, object_sync
from stacks.model.estate import Machine
from stacks.model.objects import IDENTITIES, STORE, way_in
from stacks.model.signing import stores


def variables(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a machine of the store."""
    held = [one for one in estate.served(machine.site) if one.service == STORE]
    return {
        "object_store_addresses": [text for one in held for text in one.targets[0].texts()],
        "object_store_secrets": list(stores(estate)[machine.site].values()),
        "object_store_way_in": way_in(machine.name),
        "object_store_identities": IDENTITIES,
        "object_store_estate": object_sync.estates(estate),
    }
