"""What a twin consists of: plain data that knows nothing of the model it is derived from.

A topology that is built is a topology that can be built: whatever is wrong raises, all faults at once.
"""

from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

INTERFACE_NAME = 15
"""Longest name of an interface that Linux takes (IFNAMSIZ less its terminator)."""

type Interface = IPv4Interface | IPv6Interface


def _address(value: str) -> str:
    ip_interface(value)
    if "/" not in value:
        raise ValueError(f"{value}: wanted an address with its prefix length, like 10.0.0.1/24")
    return value


def _network(value: str) -> str:
    ip_network(value)
    return value


def _ip(value: str) -> str:
    ip_address(value)
    return value


_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=63)]
_InterfaceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=INTERFACE_NAME)]
_Address = Annotated[str, AfterValidator(_address)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Leg(_Frozen):
    """An interface on a bridge. `isolated`: it may talk to the bridge's operator, to no other such leg."""

    interface: _InterfaceName
    bridge: _InterfaceName
    addresses: tuple[_Address, ...] = ()
    isolated: bool = False


class Route(_Frozen):
    """`destination` (0.0.0.0/0 and ::/0: default) through `via`, which must lie in a prefix of a leg."""

    destination: Annotated[str, AfterValidator(_network)]
    via: Annotated[str, AfterValidator(_ip)]


class File(_Frozen):
    """A file that a new disk is born with; owned by root."""

    content: str
    mode: int = 0o644


class Place(_Frozen):
    """What machines and clients have in common: a name, legs and routes."""

    name: _Name
    legs: tuple[Leg, ...]
    routes: tuple[Route, ...] = ()

    def interfaces(self) -> Iterator[tuple[Leg, Interface]]:
        """Each address, with its leg."""
        for leg in self.legs:
            for address in leg.addresses:
                yield leg, ip_interface(address)

    def leg_towards(self, route: Route) -> Leg | None:
        """The leg that has the gateway of `route` on its link."""
        via = ip_address(route.via)
        return next((leg for leg, own in self.interfaces() if via in own.network), None)


class Machine(Place):
    """A booted Debian machine. `files` land on its disk when the disk is made, not when they change later.

    One of an `island` has no management port, and no bridge in common with anything that is not of an island
    (C-SEC-01): there is its console, and no other way to it.
    """

    site: str
    roles: tuple[str, ...] = ()
    sysctl: dict[str, str] = {}
    files: dict[str, File] = {}
    island: bool = False
    packages: bool = False
    """It sees the packages that the image was built from, below /srv/qhs-packages."""
    containers: bool = False
    """It runs containers: it meters them by the host's control groups, and they lie on a disk that is no overlay."""


class Client(Place):
    """A plain network namespace: somewhere to send packets from, or to."""


class Operator(_Frozen):
    """Addresses of the twin's own namespace on a bridge: where Ansible and SSH come from."""

    bridge: _InterfaceName
    addresses: tuple[_Address, ...]


class Topology(_Frozen):
    """Everything one twin has. Raises ValueError with every fault found, each naming where it is."""

    bridges: tuple[_InterfaceName, ...]
    machines: tuple[Machine, ...] = ()
    clients: tuple[Client, ...] = ()
    operators: tuple[Operator, ...] = ()
    between: tuple[_InterfaceName, ...] = ()
    """The bridges that join the sites to each other."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = [
            *self._names(),
            *self._bridges(),
            *self._addresses(),
            *self._routes(),
            *self._management(),
            *self._islands(),
        ]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def managed(self) -> tuple[Machine, ...]:
        """The machines that an operator reaches."""
        return tuple(machine for machine in self.machines if not machine.island)

    @property
    def places(self) -> tuple[Place, ...]:
        """Machines and clients."""
        return (*self.machines, *self.clients)

    def management(self, machine: Machine) -> str:
        """The address that SSH to the managed `machine` goes to: its first one on a bridge that has an operator."""
        reached = {operator.bridge for operator in self.operators}
        return next(str(own.ip) for leg, own in machine.interfaces() if leg.bridge in reached)

    def _names(self) -> Iterator[str]:
        for what, names in (
            ("bridge", self.bridges),
            ("machine or client", [place.name for place in self.places]),
            *((f"{place.name}: interface", [leg.interface for leg in place.legs]) for place in self.places),
        ):
            yield from (f"{what} {name} is there twice" for name, count in Counter(names).items() if count > 1)

    def _bridges(self) -> Iterator[str]:
        known = set(self.bridges)
        for place in self.places:
            for leg in place.legs:
                if leg.bridge not in known:
                    yield f"{place.name}: leg {leg.interface} is on undeclared bridge {leg.bridge}"
        for operator in self.operators:
            if operator.bridge not in known:
                yield f"operator is on undeclared bridge {operator.bridge}"

    def _addresses(self) -> Iterator[str]:
        owners: dict[tuple[str, str], str] = {}
        held = [
            *(
                (leg.bridge, own, f"{place.name}:{leg.interface}")
                for place in self.places
                for leg, own in place.interfaces()
            ),
            *((it.bridge, ip_interface(address), "operator") for it in self.operators for address in it.addresses),
        ]
        for bridge, own, name in held:
            before = owners.setdefault((bridge, str(own.ip)), name)
            if before != name:
                yield f"{name}: {own.ip} on bridge {bridge} is already {before}'s"

    def _routes(self) -> Iterator[str]:
        for place in self.places:
            for route in place.routes:
                if not place.leg_towards(route):
                    yield f"{place.name}: {route.destination} goes via {route.via}, which is on no leg's link"

    def _management(self) -> Iterator[str]:
        reached = {operator.bridge for operator in self.operators}
        for machine in self.managed:
            if not any(leg.bridge in reached for leg, _ in machine.interfaces()):
                yield f"{machine.name}: no address on a bridge with an operator, so nobody could reach it"

    def _islands(self) -> Iterator[str]:
        isles = [machine for machine in self.machines if machine.island]
        shared = {operator.bridge for operator in self.operators}
        shared |= {leg.bridge for place in self.places if place not in isles for leg in place.legs}
        for machine in isles:
            yield from (
                f"{machine.name}: leg {leg.interface} joins its island to bridge {leg.bridge}"
                for leg in machine.legs
                if leg.bridge in shared
            )
            yield from (f"{machine.name}: a route to {it.destination} leads off its island" for it in machine.routes)
