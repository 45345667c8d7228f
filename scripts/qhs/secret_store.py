"""Ansible's variables of a site's secret store: its nodes, and the HSMs that open it."""

from __future__ import annotations

from typing import Any

from stacks.model import Estate
from stacks.model.estate import HSM, SECRETS, Machine


def unsealing(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of the host of an HSM: whom it shares the seal key with, and whom it gives it to."""
    return {
        "unseal_hosts": [one.name for one in _with_role(estate, machine.site, HSM)],
        "unseal_clients": [one.name for one in _with_role(estate, machine.site, SECRETS)],
        "unseal_addresses": _addresses(machine),
    }


def node(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a node: all nodes of its site, and who has the seal key, itself first."""
    hosts = sorted(_with_role(estate, machine.site, HSM), key=lambda one: one.name != machine.name)
    return {
        "openbao_nodes": [
            {"name": one.name, "addresses": _addresses(one)} for one in _with_role(estate, machine.site, SECRETS)
        ],
        "openbao_unseal": [{"name": one.name, "address": _addresses(one)[0]} for one in hosts],
    }


def _with_role(estate: Estate, site: str, role: str) -> list[Machine]:
    return [one for one in estate.machines.values() if one.site == site and role in one.roles]


def _addresses(machine: Machine) -> list[str]:
    """On the segment of its zone."""
    return machine.interfaces[0].address.texts()
