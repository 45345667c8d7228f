"""Ansible's inventory of an environment, derived from the estate in one direction."""

from __future__ import annotations

import json
import sys
from typing import Any

from qhs import metrics
from stacks.model import Estate, ModelError, load
from stacks.model.addresses import Pair, with_length
from stacks.model.estate import FIREWALL, Interface, Machine

PKI = "pki"
# As many as a machine's resolv.conf is read for.
RESOLVERS = 3
# A machine that dies while a role runs is given up after this many seconds, times this many questions.
PATIENCE = {"mitogen_ssh_keepalive_interval": 10, "mitogen_ssh_keepalive_count": 3}


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
        "qhs_time_sources": [one for one in nearest(estate, machine.site, "time") if one not in _held(machine)],
        "qhs_resolvers": nearest(estate, machine.site, "names")[:RESOLVERS],
        "qhs_packages": nearest(estate, machine.site, "packages")[0],
        "qhs_management_sources": [
            str(one.network_address) for pair in estate.managers(machine.site) for one in pair.both
        ],
        "metrics_readers": metrics.readers(estate),
        **_certificates(estate, machine),
        **PATIENCE,
    }
    for one in machine.services:
        if one.service == "packages":
            common["package_mirror_addresses"] = one.targets[0].texts()
    if "time" in (one.service for one in machine.services):
        common["qhs_time_clock"] = estate.inventory.sites[machine.site].clock
    held = {one.service for one in machine.services}
    names = _names(estate, machine) if "names-primary" in held else {}
    authority = _authority(estate, machine) if PKI in held else {}
    watched = metrics.store(estate, machine) if metrics.STORE in held else {}
    return {
        **common,
        **names,
        **authority,
        **watched,
        **(_pair_member(estate, machine) if FIREWALL in machine.roles else {}),
    }


def _names(estate: Estate, machine: Machine) -> dict[str, Any]:
    held = {one.service: one.targets[0].texts() for one in machine.services}
    return {"dns_records": records(estate), "dns_primary": held["names-primary"], "dns_resolver": held["names"]}


def _certificates(estate: Estate, machine: Machine) -> dict[str, Any]:
    """The names of a machine's certificates, its own first, and the authority of its site that signs them."""
    domain = estate.inventory.domain
    addresses = [port.address for port in machine.interfaces] + [one.targets[0] for one in machine.services]
    services = [f"{one.service}.{machine.site}.{domain}" for one in machine.services]
    holder, service = next(
        (other, one)
        for other in estate.machines.values()
        for one in other.services
        if other.site == machine.site and one.service == PKI
    )
    return {
        "pki_names": [machine.name, f"{machine.name}.{domain}", *services, *(t for a in addresses for t in a.texts())],
        "pki_machine": holder.name,
        "pki_address": service.targets[0].texts()[0],
    }


def _authority(estate: Estate, machine: Machine) -> dict[str, Any]:
    """What the authority of a site listens on, and the networks whose addresses it may put into certificates."""
    site = estate.inventory.sites[machine.site]
    networks = [site, *(estate.inventory.externals[name] for name in site.externals)]
    service = next(one for one in machine.services if one.service == PKI)
    return {
        "pki_authority_addresses": service.targets[0].texts(),
        "pki_authority_networks": [str(one) for network in networks for one in (network.ipv4, network.ipv6)],
    }


def records(estate: Estate) -> dict[str, list[str]]:
    """Every name below the domain with its addresses: machines, their management ports, the services of each site."""
    found: dict[str, list[str]] = {}
    for machine in estate.machines.values():
        found[machine.name] = _first_port(machine).address.texts()
        found[f"{machine.name}.mgmt"] = machine.management.address.texts()
        for one in machine.services:
            found[f"{one.service}.{machine.site}"] = one.targets[0].texts()
    return found


def _first_port(machine: Machine) -> Interface:
    """The port of a machine's zone; of a firewall, the one towards the infrastructure of its site."""
    wanted = f"{machine.site}.infra"
    return next((port for port in machine.interfaces if port.place == wanted), machine.interfaces[0])


def _held(machine: Machine) -> set[str]:
    """The IPv4 addresses of the services that a machine holds."""
    return {str(one.targets[0].ipv4.network_address) for one in machine.services}


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
