"""Ansible's variables of a site's signing service: its hosts, the keys that it signs with, where it is asked."""

from __future__ import annotations

from typing import Any

from stacks.model import Estate
from stacks.model.estate import Machine
from stacks.model.signing import devices, nearest_stores, tokens

SERVICES = ("signer", "time-stamp")


def variables(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of the host of an HSM."""
    at = {one.service: one.targets[0].texts() for one in estate.served(machine.site) if one.service in SERVICES}
    return {
        "signer_addresses": machine.addresses,
        "signer_pair": {name: estate.machines[name].addresses[0] for name in devices(estate, machine.site)},
        "signer_store": nearest_stores(estate, machine),
        "signer_keys": {key.label: token.label for token in tokens(estate) for key in token.keys},
        "signer_services": at,
        "qhs_signing_authority": estate.inventory.signing.authority,
    }
