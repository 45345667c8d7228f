"""The container registries of an estate: where each is, and by whom images come into it."""

from __future__ import annotations

from dataclasses import dataclass

from stacks.model.certificates import service_name
from stacks.model.estate import Estate

REGISTRY = "registry"
"""The service."""
PORT = 5000
"""Of the one that nodes fetch from."""
USER = "qhs-images"
"""By whom the other one is reached on its machine."""


@dataclass(frozen=True)
class Registry:
    """The registry of a site."""

    machine: str
    """The one that holds it."""
    address: str
    name: str
    """Under which images are named."""


def registries(estate: Estate) -> dict[str, Registry]:
    """By site; a site without one runs no containers."""
    return {
        machine.site: Registry(machine.name, one.targets[0].texts()[0], service_name(estate, REGISTRY, machine.site))
        for machine in estate.machines.values()
        for one in machine.services
        if one.service == REGISTRY
    }
