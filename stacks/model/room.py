"""Whether the nodes of each zone hold what the quotas of its applications let them use, all at once (C-DR-08)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stacks.model.catalogue import Capacity
from stacks.model.cloud import PARTS, TenantPlace, nodes, places
from stacks.model.estate import Estate
from stacks.model.inventory import Group
from stacks.model.source import Finding, Source

SMALL_NODES = "small-nodes"
"""The limit of an inventory whose nodes stand in for larger ones."""


@dataclass(frozen=True)
class Measure:
    """Something that nodes have and applications use up."""

    name: str
    used: Callable[[Capacity], float]
    held: Callable[[Group], float]


MEASURES = (
    Measure("cores", lambda one: one.most_cpu, lambda one: one.cpu),
    Measure("GiB of memory", lambda one: one.most_memory_gib, lambda one: one.memory_gib),
    Measure("GPUs", lambda one: one.gpu, lambda one: one.gpu),
)


@dataclass(frozen=True)
class Room:
    """What the nodes of a zone have, all together; cores, GiB."""

    cpu: float
    memory_gib: float
    gpu: int


def rooms(estate: Estate, site: str) -> dict[str, Room]:
    """By zone, of those that the cluster of a site has nodes of."""
    groups = estate.inventory.sites[site].groups
    found: dict[str, Room] = {}
    for zone in estate.catalogue.services[PARTS].places:
        if there := [groups[one.group] for one in nodes(estate, site, zone)]:
            cpu, memory, gpu = (sum(map(one.held, there)) for one in MEASURES)
            found[zone] = Room(cpu, memory, int(gpu))
    return found


def refused(estate: Estate, catalogue: Source, inventory: Source) -> Iterator[Finding]:
    """A finding for whatever the nodes of a zone have too little of, at the application that asks for most of it."""
    if SMALL_NODES in estate.inventory.limits:
        return
    for site in estate.active_sites:
        zones: dict[str, list[TenantPlace]] = {}
        for place in places(estate, site):
            zones.setdefault(place.zone, []).append(place)
        for zone, there in zones.items():
            groups = [one.group for one in nodes(estate, site, zone)]
            held = [estate.inventory.sites[site].groups[one] for one in groups]
            written = sorted({inventory.at("sites", site, "groups", one) for one in groups})
            for one in MEASURES:
                if found := _lacking(one, there, held):
                    most, sums, limit = found
                    wanted = f"{limit} ({', '.join(written) or 'no group of workers'}); ask for less, or add nodes"
                    yield Finding(catalogue.at("tenants", most, "capacity"), f"{site}.{zone}: {sums}", wanted)


def _lacking(measure: Measure, there: list[TenantPlace], held: list[Group]) -> tuple[str, str, str] | None:
    """Who asks for most, all that is asked for, and what there is; None: there is enough."""
    asked, has = sum(measure.used(one.capacity) for one in there), sum(map(measure.held, held))
    if asked <= has:
        return None
    most = max(there, key=lambda one: measure.used(one.capacity))
    own = measure.used(most.capacity)
    sums = f"quotas of {asked:g} {measure.name}: {own:g} of {most.name}, {asked - own:g} of {len(there) - 1} others"
    return most.name, sums, f"{has:g} at most, which its {len(held)} nodes have"
