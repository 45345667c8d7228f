"""Ansible's variables of a site's secret store: its nodes, and the HSMs that open it."""

from __future__ import annotations

from typing import Any

from stacks.model import Estate
from stacks.model.estate import HSM, SECRETS, Machine


def unsealing(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of the host of an HSM: whom it shares the seal key with, and whom it gives it to."""
    return {
        "unseal_hosts": [one.name for one in estate.with_role(machine.site, HSM)],
        "unseal_clients": [one.name for one in estate.with_role(machine.site, SECRETS)],
        "unseal_addresses": machine.addresses,
    }


def node(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a node: all nodes of its site, and who has the seal key, itself first."""
    hosts = sorted(estate.with_role(machine.site, HSM), key=lambda one: one.name != machine.name)
    return {
        "openbao_nodes": [
            {"name": one.name, "addresses": one.addresses} for one in estate.with_role(machine.site, SECRETS)
        ],
        "openbao_unseal": [{"name": one.name, "address": one.addresses[0]} for one in hosts],
    }
