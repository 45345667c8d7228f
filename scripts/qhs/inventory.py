"""Ansible's inventory of an environment, derived from the estate in one direction."""

from __future__ import annotations

import json
import sys
from typing import Any

from qhs import (
    active_names,
    borders,
    clusters,
    database,
    etcd,
    keepalive,
    metrics,
    names_access,
    object_store,
    object_sync,
    secret_store,
    signing_service,
    wan,
)
from qhs.lease import members
from qhs.playbooks import runs_on
from stacks.model import Estate, ModelError, certificates, kubernetes, lease, load, service_names
from stacks.model.addresses import Pair, with_length
from stacks.model.estate import (
    BASTION,
    CONTROL,
    DATABASE,
    FIREWALL,
    HSM,
    PEER_PORT,
    QUORUM,
    SECRETS,
    SYNC,
    TRACKING_PORT,
    Interface,
    Machine,
)
from stacks.model.objects import STORE
from stacks.model.signing import nearest_stores

SOFT_HSM = "soft-hsm"
LOGS = "logs"
# The own site's and another one's (C-LOG-02).
LOG_STORES = 2
LOGS_IN = "qhs-ssh"
TAKES_FILES = "takes_files"
SHARES = "shares_addresses"
BY_LEASE = "writes_by_lease"
NAMES_BY_LEASE = "names_by_lease"
SERVED = "/run/qhs-served"
"""What whoever serves behind an address that moves says so by."""
ALL = "all"
# As many as a machine's resolv.conf is read for.
RESOLVERS = 3


def inventory(estate: Estate) -> dict[str, Any]:
    """What `ansible-inventory --list` prints: groups by site, role and held service, and each machine's variables."""
    hostvars = {name: variables(estate, machine) for name, machine in estate.machines.items()}
    by_name = {group: {"hosts": names} for group, names in groups(estate).items() if group != ALL}
    return {"_meta": {"hostvars": hostvars}, ALL: {"children": sorted(by_name)}, **by_name}


def groups(estate: Estate) -> dict[str, list[str]]:
    """The machines of each group, and of Ansible's own for all."""
    found: dict[str, list[str]] = {ALL: list(estate.machines)}
    for machine in estate.machines.values():
        held = (f"service_{one.service}" for one in machine.services)
        scans = [TAKES_FILES] if _incoming(estate, machine) else []
        soft = [SOFT_HSM] if HSM in machine.roles and estate.inventory.hsm.soft_tokens else []
        shares = [SHARES] if machine.moving else []
        holds = [BY_LEASE] if machine.name in lease.holders(estate) else []
        leads = [NAMES_BY_LEASE] if machine.name in active_names.authorities(estate) else []
        own = (f"site_{machine.site}", *(f"role_{role}" for role in machine.roles))
        for group in (*own, *held, *scans, *soft, *shares, *holds, *leads):
            found.setdefault(group.replace("-", "_"), []).append(machine.name)
    return found


def roles(estate: Estate) -> dict[str, list[str]]:
    """By machine the roles that playbooks run on it."""
    by_name, where = groups(estate), runs_on().items()
    return {
        machine: sorted(role for role, on in where if any(machine in by_name.get(one, ()) for one in on))
        for machine in estate.machines
    }


def variables(estate: Estate, machine: Machine) -> dict[str, Any]:
    """What Ansible's roles are told of a machine."""
    common = {
        "qhs_environment": estate.inventory.environment,
        "qhs_site": machine.site,
        "qhs_management": machine.management.address.texts()[0],
        "qhs_domain": estate.inventory.domain,
        "qhs_limits": list(estate.inventory.limits),
        "qhs_time_sources": [one for one in nearest(estate, machine.site, "time") if one not in _held(machine)],
        "qhs_resolvers": nearest(estate, machine.site, "names")[:RESOLVERS],
        "qhs_packages": nearest(estate, machine.site, "packages")[0],
        "qhs_management_sources": [
            str(one.network_address) for pair in estate.managers(machine.site) for one in pair.both
        ],
        "logging_stores": [
            {"name": f"{LOGS}.{site}.{estate.inventory.domain}", "address": address}
            for site, address in _in_turn(estate, machine.site, LOGS)[:LOG_STORES]
        ],
        "qhs_people": _people(estate, machine),
        "metrics_readers": metrics.readers(estate),
        **_certificates(estate, machine),
        **borders.variables(estate, machine),
        **etcd.variables(estate, machine),
        **members.variables(estate, machine),
        **active_names.variables(estate, machine),
        "mitogen_ssh_keepalive_interval": keepalive.INTERVAL,
        "mitogen_ssh_keepalive_count": keepalive.COUNT,
    }
    for one in machine.services:
        if one.service == "packages":
            common["package_mirror_addresses"] = one.targets[0].texts()
    if "time" in (one.service for one in machine.services):
        common["qhs_time_clock"] = estate.inventory.sites[machine.site].clock
    held = {one.service for one in machine.services}
    if incoming := _incoming(estate, machine):
        common["malware_scan_folders"] = incoming
    if HSM in machine.roles:
        device = estate.inventory.hsm
        common |= {f"hsm_{name}": value for name, value in device.model_dump().items()}
        common |= secret_store.unsealing(estate, machine)
        common |= signing_service.variables(estate, machine)
    if SECRETS in machine.roles:
        common |= secret_store.node(estate, machine)
    if QUORUM in machine.roles:
        common |= database.quorum(estate, machine)
    if machine.moving or CONTROL in machine.roles:
        common["qhs_served"] = SERVED
    if kubernetes.parts(estate, machine):
        common |= clusters.variables(estate, machine)
    if DATABASE in machine.roles:
        common |= database.member(estate, machine) | database.backup(estate, machine)
        common |= database.bubbled(estate, machine)
    if STORE in held:
        common |= object_store.variables(estate, machine) | object_sync.variables(estate, machine)
    if BASTION in machine.roles:
        common["bastion_machines"] = _managed(estate, machine)
    names = _names(estate, machine) if names_access.AUTHORITY in held else {}
    authority = _authority(estate, machine) if certificates.AUTHORITY in held else {}
    logs = _log_store(estate, machine) if LOGS in held else {}
    watched = metrics.store(estate, machine) if metrics.STORE in held else {}
    pair = _pair_member(estate, machine) if FIREWALL in machine.roles else {}
    shared = _sharer(estate, machine) if machine.moving else {}
    return {**common, **names, **authority, **logs, **watched, **pair, **shared}


def _people(estate: Estate, machine: Machine) -> dict[str, list[str]]:
    """The accounts of persons on a machine, each with its groups: on a bastion all of them, with no right there."""
    if BASTION in machine.roles:
        return {name: [LOGS_IN] for name in estate.catalogue.people}
    return {name: [LOGS_IN, f"qhs-{estate.catalogue.people[name].right}"] for name in estate.people(machine)}


def _incoming(estate: Estate, machine: Machine) -> list[str]:
    """A folder for each service of a machine that takes files from others."""
    services = estate.catalogue.services
    return [f"/srv/incoming/{one.service}" for one in machine.services if services[one.service].takes_files]


def _managed(estate: Estate, bastion: Machine) -> dict[str, dict[str, Any]]:
    """The machines that a bastion leads to: where, and for whom."""
    return {
        other.name: {"address": other.management.address.texts()[0], "people": list(estate.people(other))}
        for other in estate.machines.values()
        if other.site == bastion.site and BASTION not in other.roles
    }


def _names(estate: Estate, machine: Machine) -> dict[str, Any]:
    authorities = names_access.authorities(estate).items()
    return {
        "dns_records": records(estate),
        "dns_authorities": {
            site: {"name": names_access.known_as(holder), "addresses": addresses}
            for site, (holder, addresses) in authorities
        },
        "dns_service_domain": service_names.domain(estate),
        "dns_service_sites": service_names.sites(estate),
        "dns_resolver": next(one for one in machine.services if one.service == "names").targets[0].texts(),
    }


def _certificates(estate: Estate, machine: Machine) -> dict[str, Any]:
    """The names of a machine's certificates, its own first, and the authority of its site that signs them."""
    addresses = [
        *(port.address for port in machine.interfaces),
        *machine.answers_at,
        *kubernetes.inside(estate, machine),
    ]
    holder = certificates.holder(estate, machine.site)
    service = next(one for one in holder.services if one.service == certificates.AUTHORITY)
    return {
        "pki_names": [*certificates.names(estate, machine), *(text for one in addresses for text in one.texts())],
        "pki_machine": holder.name,
        "pki_address": service.targets[0].texts()[0],
    }


def _authority(estate: Estate, machine: Machine) -> dict[str, Any]:
    """What the authority of a site listens on, and the networks whose addresses it may put into certificates."""
    service = next(one for one in machine.services if one.service == certificates.AUTHORITY)
    return {
        "pki_authority_addresses": service.targets[0].texts(),
        "pki_authority_networks": certificates.networks(estate, machine.site),
        "pki_authority_secrets": nearest_stores(estate, machine),
        "pki_authority_way_in": certificates.way_in(machine.name),
        "pki_authority_role": f"{certificates.ENGINE}/sign/{certificates.ROLE}",
    }


def _log_store(estate: Estate, machine: Machine) -> dict[str, Any]:
    """What a log store listens on, and for how many months it keeps what comes from where; it knows no machine."""
    zones = {name: zone for name, zone in estate.catalogue.zones.items() if zone.firewall == "gateway"}
    return {
        "log_store_addresses": next(one for one in machine.services if one.service == LOGS).targets[0].texts(),
        "log_store_months": {
            str(place.prefix.ipv4): estate.catalogue.retention[zones[place.zone].level].log_months
            for place in estate.places.values()
            if place.zone in zones
        },
    }


def records(estate: Estate) -> dict[str, list[str]]:
    """The names that are there before any stack: machines, their management ports, and who answers for names."""
    found: dict[str, list[str]] = {}
    for machine in estate.machines.values():
        found[machine.name] = _first_port(machine).address.texts()
        found[f"{machine.name}.mgmt"] = machine.management.address.texts()
    for holder, addresses in names_access.authorities(estate).values():
        found[names_access.known_as(holder)] = addresses
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
    return [address for _, address in _in_turn(estate, site, service)]


def _in_turn(estate: Estate, site: str, service: str) -> list[tuple[str, str]]:
    """Every site that has a service, with its IPv4 address there; `site` first."""
    sites = list(estate.inventory.sites)
    turn = sites[sites.index(site) :] + sites[: sites.index(site)]
    at = {estate.places[one.place].site: one for one in estate.services if one.service == service}
    return [(name, str(at[name].targets[0].ipv4.network_address)) for name in turn if name in at]


def _pair_member(estate: Estate, machine: Machine) -> dict[str, Any]:
    members = estate.firewalls(machine.site)
    return {
        "qhs_pair": {name: estate.machines[name].interface(SYNC).address.texts()[0] for name in members},
        "qhs_pair_ports": {"tracking": TRACKING_PORT, "ruleset": PEER_PORT},
        "qhs_own_addresses": [text for port in machine.interfaces for text in port.address.texts()],
        "qhs_legs": [
            {
                "name": port.name,
                "gateways": with_length(port.gateway, _link(estate, machine, port.name)),
                "tracked": port.name not in estate.inventory.carriers,
            }
            for port in machine.interfaces
            if port.gateway is not None
        ],
        **wan.member(estate, machine),
    }


def _sharer(estate: Estate, machine: Machine) -> dict[str, Any]:
    return {
        "shared_address_group": {one.name: one.addresses[0] for one in estate.sharers(machine)},
        "shared_address_interface": machine.interfaces[0].name,
        "shared_address_addresses": [text for one in machine.moving for text in one.targets[0].texts()],
    }


def _link(estate: Estate, machine: Machine, leg: str) -> Pair:
    place = estate.places.get(f"{machine.site}.{leg}")
    return place.prefix if place else estate.network(leg)


def main(environment: str) -> None:
    """What the inventory scripts call."""
    try:
        print(json.dumps(inventory(load(environment)), indent=1))
    except ModelError as error:
        sys.exit(str(error))
