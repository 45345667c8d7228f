"""The state-secret enclave: machines of one site that no network of it reaches (S-055, C-SEC-01).

Kept out of the estate on purpose: what is in the estate is managed, and whatever manages would be a way in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from stacks.model import addresses
from stacks.model.addresses import Pair, text
from stacks.model.catalogue import LegName, Name, Strict, Title
from stacks.model.estate import Estate
from stacks.model.load import INVENTORIES
from stacks.model.source import Finding, ModelError, Source

ENCLAVE = INVENTORIES / "enclave" / "enclave.yaml"
ISLAND = "none"
"""What the catalogue calls the firewall of a zone that has no way out."""


class EnclaveGroup(Strict):
    """Machines of one kind: `<site>-<group><n>`."""

    title: Title
    count: int = Field(ge=1, le=100)
    number: int = Field(ge=1, le=900, description="of the first machine; it fixes the addresses")


class Enclave(Strict):
    """The inventory of the enclave."""

    site: Name
    zone: LegName
    groups: dict[Name, EnclaveGroup]


@dataclass(frozen=True)
class Islander:
    """A machine of the enclave: one port, no gateway, no management."""

    name: str
    site: str
    zone: str
    place: str
    cidrs: tuple[str, ...]
    """Its address with the segment's length, in both families."""


def islanders(estate: Estate, inventory: Path = ENCLAVE) -> tuple[Islander, ...]:
    """The machines of the enclave. Raises ModelError with every finding, each with its line."""
    source = Source(inventory)
    enclave = source.parse(Enclave)
    if findings := list(_placed(estate, enclave, source)):
        raise ModelError(findings)
    taken: dict[Pair, str] = {}
    found = []
    for group, machine, address, prefix in _machines(estate, enclave):
        at = ("groups", group)
        if machine in estate.machines:
            findings.append(Finding(source.at(*at), f"{machine}, which the estate manages", "another name (C-SEC-01)"))
        first = taken.setdefault(address, machine)
        if first != machine:
            clash = f"{machine} and {first} at {text(address.ipv4)}"
            findings.append(Finding(source.at(*at, "number"), clash, "numbers of their own"))
        cidrs = tuple(addresses.with_length(address, prefix))
        found.append(Islander(machine, enclave.site, enclave.zone, f"{enclave.site}.{enclave.zone}", cidrs))
    if findings:
        raise ModelError(findings)
    return tuple(found)


def _placed(estate: Estate, enclave: Enclave, source: Source) -> Iterator[Finding]:
    zone = estate.catalogue.zones.get(enclave.zone)
    if zone is None or zone.firewall != ISLAND:
        islands = ", ".join(name for name, one in estate.catalogue.zones.items() if one.firewall == ISLAND)
        yield Finding(source.at("zone"), f"zone {enclave.zone}", f"one that no firewall has a leg in: {islands}")
    elif enclave.site not in zone.sites:
        yield Finding(source.at("site"), f"site {enclave.site}", f"one that {enclave.zone} is at: {zone.sites}")


def _machines(estate: Estate, enclave: Enclave) -> Iterator[tuple[str, str, Pair, Pair]]:
    """Group, name, address and segment of each."""
    prefix = estate.places[f"{enclave.site}.{enclave.zone}"].prefix
    for name, group in enclave.groups.items():
        for position in range(group.count):
            address = addresses.host(prefix, addresses.MACHINE + group.number + position)
            yield name, f"{enclave.site}-{name}{position + 1}", address, prefix
