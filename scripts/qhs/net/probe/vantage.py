"""Real places to send from and to: the twin's machines and clients, each in its own network namespace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qhs.errors import UserError
from qhs.layout import CLIENT_PORT, client_address
from qhs.twin import boot, inside
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.estate import FIREWALL


@dataclass(frozen=True)
class Vantage:
    """One network namespace in one place."""

    name: str
    place: str
    addresses: tuple[str, str]
    """Its own, IPv4 and IPv6."""
    port: str
    """Its interface there."""
    namespace: Path

    def inside[T](self, function: Callable[[], T]) -> T:
        """Call `function` with its sockets there."""
        return inside.call(self.namespace, function)


def vantages(estate: Estate, twin: Twin) -> list[Vantage]:
    """Every machine but the firewalls, in each of its places, and every client. Raises UserError where one is off."""
    found = []
    for machine in estate.machines.values():
        if FIREWALL in machine.roles:
            continue
        namespace = _namespace(twin, machine.name)
        for port in machine.interfaces:
            ipv4, ipv6 = (str(one.network_address) for one in port.address.both)
            found.append(Vantage(machine.name, port.place, (ipv4, ipv6), port.name, namespace))
    for name, client in estate.inventory.clients.items():
        ipv4, ipv6 = (str(one.network_address) for one in client_address(estate, name).both)
        found.append(Vantage(name, client.place, (ipv4, ipv6), CLIENT_PORT, twin.netns_path(name)))
    return found


def _namespace(twin: Twin, machine: str) -> Path:
    init = boot.group(twin, machine).init()
    if init is None:
        raise UserError(f"the machine {machine} is off", "qhs up")
    return Path(f"/proc/{init}/ns/net")
