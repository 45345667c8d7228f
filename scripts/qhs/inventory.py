"""Ansible's inventory of an environment, derived from the estate in one direction."""

from __future__ import annotations

import json
import sys
from typing import Any

from stacks.model import Estate, ModelError, load
from stacks.model.addresses import Pair, with_length
from stacks.model.estate import FIREWALL, Machine


def inventory(estate: Estate) -> dict[str, Any]:
    """What `ansible-inventory --list` prints: groups by site and by role, and each machine's variables."""
    groups: dict[str, dict[str, list[str]]] = {}
    for machine in estate.machines.values():
        for group in (f"site_{machine.site}", *(f"role_{role.replace('-', '_')}" for role in machine.roles)):
            groups.setdefault(group, {"hosts": []})["hosts"].append(machine.name)
    hostvars = {name: _variables(estate, machine) for name, machine in estate.machines.items()}
    return {"_meta": {"hostvars": hostvars}, "all": {"children": sorted(groups)}, **groups}


def _variables(estate: Estate, machine: Machine) -> dict[str, Any]:
    common = {
        "qhs_environment": estate.inventory.environment,
        "qhs_site": machine.site,
        "qhs_management_sources": [
            str(one.network_address) for pair in estate.managers(machine.site) for one in pair.both
        ],
    }
    return {**common, **(_pair_member(estate, machine) if FIREWALL in machine.roles else {})}


def _pair_member(estate: Estate, machine: Machine) -> dict[str, Any]:
    members = estate.firewalls(machine.site)
    return {
        "qhs_members": list(members),
        "qhs_vrrp_priority": 200 - 50 * members.index(machine.name),
        "qhs_legs": [
            {"name": port.name, "gateways": with_length(port.gateway, _link(estate, machine, port.name))}
            for port in machine.interfaces
            if port.gateway is not None
        ],
    }


def _link(estate: Estate, machine: Machine, leg: str) -> Pair:
    place = estate.places.get(f"{machine.site}.{leg}")
    if place is not None:
        return place.prefix
    network = estate.inventory.externals[leg]
    return Pair(network.ipv4, network.ipv6)


def main(environment: str) -> None:
    """What the inventory scripts call."""
    try:
        print(json.dumps(inventory(load(environment)), indent=1))
    except ModelError as error:
        sys.exit(str(error))
