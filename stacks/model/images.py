"""The container registries of an estate: where each is, and by whom images come into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stacks.model.certificates import service_name
from stacks.model.estate import Estate
from stacks.model.source import REPO

REGISTRY = "registry"
"""The service."""
PORT = 5000
"""Of the one that nodes fetch from."""
USER = "qhs-images"
"""By whom the other one is reached on its machine."""
CANARY = "canary"
"""The image that every application has a part of."""
NOBODY = 65532
"""As whom an image runs that does not say it: nobody whom a Debian package knows."""
FOLDER = REPO / "images" / "containers"
ARCHITECTURE = "amd64"
"""Of nodes."""


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


def pinned(name: str, folder: Path = FOLDER, architecture: str = ARCHITECTURE) -> str:
    """The digest that an image has wherever it is built, by its recipe's folder; empty: none was written down yet."""
    path = digest_file(folder / name, architecture)
    return path.read_text().strip() if path.is_file() else ""


def digest_file(recipe: Path, architecture: str) -> Path:
    """Where it stands."""
    return recipe / f"{architecture}.digest"
