"""Real places to send from and to: the twin's machines and clients, and namespaces that stand for a probe only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from qhs.errors import UserError
from qhs.layout import CLIENT_PORT, client_address, stand
from qhs.net.prove.space import FAMILIES
from qhs.twin import boot, inside
from qhs.twin.names import Twin
from qhs.twin.topology import Client
from stacks.model import Estate
from stacks.model.enclave import islanders
from stacks.model.estate import FIREWALL, INTER_SITE, Interface, ServiceAt


@dataclass(frozen=True)
class Vantage:
    """One network namespace in one place."""

    name: str
    place: str
    addresses: tuple[str, str]
    """Its own, IPv4 and IPv6."""
    port: str
    """Its interface there."""
    namespace: Path | None
    """None: a `stand`, which is there while packets are sent."""
    kind: Literal["machine", "firewall", "client", "stand"]
    stand: Client | None = field(default=None, compare=False)
    moved: frozenset[str] = frozenset()
    """Services whose address moves, and is here now."""

    def address(self, family: int) -> str:
        """Its own of a family."""
        return self.addresses[FAMILIES.index(family)]

    @property
    def where(self) -> Path:
        """Its namespace, which is there."""
        if self.namespace is None:
            raise ValueError(f"{self.name} does not stand")
        return self.namespace

    def inside[T](self, function: Callable[[], T]) -> T:
        """Call `function` with its sockets there."""
        return inside.call(self.where, function)


def vantages(estate: Estate, twin: Twin) -> list[Vantage]:
    """Every machine in each of its places, every client, and a stand in each place that has a wire of a firewall.

    Raises UserError where a machine is off.
    """
    return [*_machines(estate, twin), *_islanders(estate, twin), *_clients(estate, twin), *_stands(estate)]


def _machines(estate: Estate, twin: Twin) -> Iterator[Vantage]:
    for machine in estate.machines.values():
        namespace = _namespace(twin, machine.name)
        firewall = FIREWALL in machine.roles
        for port in machine.interfaces:
            place = f"{INTER_SITE}.{machine.site}" if port.place == INTER_SITE else port.place
            kind: Literal["machine", "firewall"] = "firewall" if firewall else "machine"
            moved = frozenset(one.service for one in machine.moving if one.place == place and _has(namespace, one))
            yield Vantage(machine.name, place, _own(port), port.name, namespace, kind, moved=moved)


def _islanders(estate: Estate, twin: Twin) -> Iterator[Vantage]:
    for one in islanders(estate):
        ipv4, ipv6 = (cidr.partition("/")[0] for cidr in one.cidrs)
        yield Vantage(one.name, one.place, (ipv4, ipv6), one.zone, _namespace(twin, one.name), "machine")


def _clients(estate: Estate, twin: Twin) -> Iterator[Vantage]:
    for name, client in estate.inventory.clients.items():
        ipv4, ipv6 = (str(one.network_address) for one in client_address(estate, name).both)
        yield Vantage(name, client.place, (ipv4, ipv6), CLIENT_PORT, twin.netns_path(name), "client")


def _stands(estate: Estate) -> Iterator[Vantage]:
    for place in estate.places.values():
        if client := stand(estate, place):
            ipv4, ipv6 = (cidr.partition("/")[0] for cidr in client.legs[0].addresses[:2])
            yield Vantage(client.name, place.name, (ipv4, ipv6), CLIENT_PORT, None, "stand", client)


def _own(port: Interface) -> tuple[str, str]:
    ipv4, ipv6 = (str(one.network_address) for one in port.address.both)
    return ipv4, ipv6


def _has(namespace: Path, service: ServiceAt) -> bool:
    """Whether the address of a service is in a namespace: both families of it move together."""
    kernel = namespace.parents[1] / "net" / "if_inet6"
    return any(line.startswith(service.targets[0].ipv6.network_address.packed.hex()) for line in kernel.open())


def _namespace(twin: Twin, machine: str) -> Path:
    init = boot.group(twin, machine).init()
    if init is None:
        raise UserError(f"the machine {machine} is off", "qhs up")
    return Path(f"/proc/{init}/ns/net")
