"""Who watches whom: the stores of metrics, and the machines that each of them asks."""

from __future__ import annotations

from typing import Any

from stacks.model import Estate
from stacks.model.addresses import Pair
from stacks.model.estate import INTER_SITE, Interface, Machine

STORE, METRICS = "metrics-store", "metrics"


def readers(estate: Estate) -> list[str]:
    """The names of the stores, as they stand in their certificates."""
    return [f"{STORE}.{one.site}.{estate.inventory.domain}" for one in _stores(estate).values()]


def store(estate: Estate, holder: Machine) -> dict[str, Any]:
    """What the store on `holder` asks: its site, and each site that has none; and every store, itself among them."""
    stores = _stores(estate)
    watched = [one for one in estate.machines.values() if one.site == holder.site or one.site not in stores]
    group = estate.inventory.sites[holder.site].groups[holder.group]
    return {
        "metrics_store_targets": [_target(estate, METRICS, one, _answers(one, holder).address) for one in watched],
        "metrics_store_others": [_target(estate, STORE, one, _held(one)) for one in stores.values()],
        "metrics_store_megabytes": int(group.disk_gib * 1024 / 2),
    }


def _stores(estate: Estate) -> dict[str, Machine]:
    """The machine that holds the store, by site."""
    return {one.site: one for one in estate.machines.values() if STORE in (held.service for held in one.services)}


def _answers(machine: Machine, holder: Machine) -> Interface:
    """Where a machine answers a store: a firewall on its leg towards it, one of another site between the sites."""
    ports = {port.place: port for port in machine.interfaces}
    wanted = (holder.interfaces[0].place, INTER_SITE, machine.interfaces[0].place)
    return next(ports[place] for place in wanted if place in ports)


def _held(holder: Machine) -> Pair:
    """The address of the store."""
    return next(one.targets[0] for one in holder.services if one.service == STORE)


def _target(estate: Estate, service: str, machine: Machine, at: Pair) -> dict[str, Any]:
    """By address, so that no name server is needed to see that one is down."""
    (listened,) = estate.catalogue.services[service].ports
    number = listened.partition("/")[2]
    return {
        "targets": [f"{at.ipv4.network_address}:{number}"],
        "labels": {"instance": machine.name, "site": machine.site},
    }
