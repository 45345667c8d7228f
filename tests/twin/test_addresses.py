"""What stands has the addresses that the estate derives, and no others (T-F16)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from qhs.layout import topology
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import Estate, kubernetes, load
from stacks.model.addresses import host
from stacks.model.estate import FIREWALL, WORKER, Machine, ServiceAt
from tests.twin.test_estate import ssh

pytestmark = pytest.mark.live

type Held = tuple[str, str]
"""An interface and an address with its length."""

SHOW = ("ip", "-json", "address", "show")


@pytest.fixture(scope="module")
def estate() -> Estate:
    return load("twin")


@pytest.fixture(scope="module")
def live(twin: Twin, estate: Estate, first_up: dict[str, Any]) -> dict[str, list[Held]]:
    """What every machine holds."""
    return {name: _global(ssh(twin, name, *SHOW)) for name in estate.machines}


def test_live_addresses_are_those_of_the_estate(estate: Estate, live: dict[str, list[Held]]) -> None:
    """On a host its own and its services'; beside those that are with one of several."""
    for machine in estate.machines.values():
        found = [held for held in live[machine.name] if held not in _shared(machine)]
        own = set(_own(machine)) - _shared(machine)
        if WORKER in machine.roles:  # what answers its own pods' questions about names
            own |= {("lo", str(one)) for one in kubernetes.names(estate, machine.site).both}
            own |= _wires_of_pods(estate, machine, found)
        assert sorted(found) == sorted(own), machine.name


def test_what_several_share_is_with_one_of_them(estate: Estate, live: dict[str, list[Held]]) -> None:
    """The gateways of a pair, and addresses of services that move."""
    pairs = [[estate.machines[name] for name in estate.firewalls(site)] for site in estate.active_sites]
    groups = {estate.sharers(machine) for machine in estate.machines.values() if machine.moving}
    for members in (*pairs, *groups):
        names = [member.name for member in members]
        shared = {held for member in members for held in _shared(member)}
        assert shared, names
        counted = Counter(held for name in names for held in live[name] if held in shared)
        assert counted == Counter(shared), names


def test_live_addresses_of_clients_are_those_of_the_estate(
    twin: Twin, estate: Estate, first_up: dict[str, Any]
) -> None:
    clients = topology(estate).clients
    assert {client.name for client in clients} == set(estate.inventory.clients)
    for client in clients:
        shown = inside.run(twin, SHOW, client=client.name)
        assert shown.returncode == 0, shown.stderr
        wanted = [(leg.interface, address) for leg in client.legs for address in leg.addresses]
        assert sorted(_global(shown.stdout)) == sorted(wanted), client.name


def _wires_of_pods(estate: Estate, machine: Machine, found: list[Held]) -> set[Held]:
    """However many pods there are, at the node's end of each of their wires is the first of their addresses."""
    wires = {name for name, _ in found if name.startswith("veth")}
    gateway = host(kubernetes.pods(estate, machine), 1)
    return {(wire, str(one)) for wire in wires for one in gateway.both}


def _own(machine: Machine) -> Iterator[Held]:
    for port in machine.interfaces:
        yield from ((port.name, cidr) for cidr in port.cidrs)
    yield from _of(machine, machine.services)


def _of(machine: Machine, services: Iterable[ServiceAt]) -> Iterator[Held]:
    for port in machine.interfaces:
        for service in services:
            if service.place == port.place:
                yield from ((port.name, str(net)) for target in service.targets for net in target.both)


def _shared(machine: Machine) -> set[Held]:
    return {*_of(machine, machine.moving), *(_gateways(machine) if FIREWALL in machine.roles else ())}


def _gateways(member: Machine) -> set[Held]:
    """The pair's own addresses: as long as the member's on the same leg."""
    return {
        (port.name, f"{gateway.network_address}/{cidr.partition('/')[2]}")
        for port in member.interfaces
        if port.gateway
        for gateway, cidr in zip(port.gateway.both, port.cidrs, strict=True)
    }


def _global(shown: str) -> list[Held]:
    return [
        (link["ifname"], f"{one['local']}/{one['prefixlen']}")
        for link in json.loads(shown)
        for one in link["addr_info"]
        if one["scope"] == "global" or (not ip_address(one["local"]).is_loopback and link["ifname"] == "lo")
    ]
