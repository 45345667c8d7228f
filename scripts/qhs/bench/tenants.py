"""A copy of what a plan is made from, in which each application of the clusters stands several times."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from qhs.environments import Environment
from qhs.folders import CLONE
from stacks.model.cloud import PARTS
from stacks.model.estate import WORKER
from stacks.model.load import CATALOGUE, INVENTORIES
from stacks.model.source import Source

ENVIRONMENT = Environment.PROD
READ = ("Pulumi.yaml", "images/containers", "inventories", "policies", "stacks")
"""What the engine's children read of a clone."""
SIZES = ("cpu", "memory_gib", "gpu")
"""What quotas are of."""
OWN = ("databases", "buckets", "archives")
"""What belongs to one application alone, and so is another for each."""


def copy(folder: Path, times: int) -> Path:
    """Make `folder` such a copy of the clone; what was compiled of it comes too, so that no plan has to do it."""
    for name in READ:
        source, target = CLONE / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    catalogue, inventories = (folder / one.relative_to(CLONE) for one in (CATALOGUE, INVENTORIES))
    write(catalogue, inventories / ENVIRONMENT / "estate.yaml", times)
    return folder


def write(catalogue: Path, inventory: Path, times: int) -> None:
    """Have each application of the clusters `times` times in a catalogue folder, and room for all of them."""
    file = catalogue / "tenants.yaml"
    clustered = set(Source(catalogue / "services.yaml").data[PARTS]["places"])
    tenants = multiplied(Source(file).data, clustered, times)
    _dump(file, tenants)
    _dump(inventory, roomier(Source(inventory).data, times))


def _dump(file: Path, data: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8")


def roomier(inventory: dict[str, Any], times: int) -> dict[str, Any]:
    """With nodes `times` as large: as many machines as before, so that networks are planned as they were."""
    for site in inventory["sites"].values():
        for group in site["groups"].values():
            if WORKER in group["roles"]:
                group.update({name: group[name] * times for name in SIZES if name in group})
    return inventory


def multiplied(tenants: dict[str, Any], zones: set[str], times: int) -> dict[str, Any]:
    """Each tenant, and after it as many more of those in these zones that it stands there `times` times.

    The first keeps its name, since some are known by theirs (`ky-so` has the keys of persons); others have a number.
    """
    found = {}
    for name, one in tenants.items():
        found[name] = one
        for number in range(2, times + 1 if one["zone"] in zones else 2):
            own = {key: [f"{thing}-{number}" for thing in one[key]] for key in OWN if key in one}
            found[f"{name}-{number}"] = one | own
    return found
