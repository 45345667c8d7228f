"""Ansible's inventory of an environment, derived from the estate in one direction."""

from __future__ import annotations

import json
import sys
from typing import Any

from stacks.model import Estate, ModelError, load
from stacks.model.addresses import Pair, with_length
from stacks.model.estate import FIREWALL, Machine

# As many as a machine's resolv.conf is read for.
RESOLVERS = 3


def inventory(estate: Estate) -> dict[str, Any]:
    """What `ansible-inventory --list` prints: groups by site, role and held service, and each machine's variables."""
    groups: dict[str, dict[str, list[str]]] = {}
    for machine in estate.machines.values():
        held = (f"service_{one.service}" for one in machine.services)
        for group in (f"site_{machine.site}", *(f"role_{role}" for role in machine.roles), *held):
            groups.setdefault(group.replace("-", "_"), {"hosts": []})["hosts"].append(machine.name)
    hostvars = {name: _variables(estate, machine) for name, machine in estate.machines.items()}
    return {"_meta": {"hostvars": hostvars}, "all": {"children": sorted(groups)}, **groups}


def _variables(estate: Estate, machine: Machine) -> dict[str, Any]:
    common = {
        "qhs_environment": estate.inventory.environment,
        "qhs_site": machine.site,
        "qhs_domain": estate.inventory.domain,
        "qhs_limits": list(estate.inventory.limits),
        "qhs_resolvers": nearest(estate, machine.site, "names")[:RESOLVERS],
        "qhs_management_sources": [
            str(one.network_address) for pair in estate.managers(machine.site) for one in pair.both
        ],
    }
    return {**common, **(_pair_member(estate, machine) if FIREWALL in machine.roles else {})}


def nearest(estate: Estate, site: str, service: str) -> list[str]:
    """The IPv4 address of a service at every site that has it: at `site` first, then in turn, so that load spreads."""
    sites = list(estate.inventory.sites)
    turn = sites[sites.index(site) :] + sites[: sites.index(site)]
    at = {estate.places[one.place].site: one for one in estate.services if one.service == service}
    return [str(at[name].targets[0].ipv4.network_address) for name in turn if name in at]


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
