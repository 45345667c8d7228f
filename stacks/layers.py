"""Which stacks an estate has."""

from __future__ import annotations

from stacks.model import Estate
from stacks.model.data import active
from stacks.model.kubernetes import clusters
from stacks.model.signing import signing_sites
from stacks.name import SITELESS, StackName


def stack_names(estate: Estate) -> list[StackName]:
    """Every one, in the order in which layers stand on each other."""
    layers: dict[str, tuple[str | None, ...]] = {
        "network": estate.active_sites,
        "signing": signing_sites(estate),
        SITELESS: (None,) if active(estate) else (),
        "cloud": tuple(clusters(estate)),
    }
    return [StackName(estate.inventory.environment, site, layer) for layer, sites in layers.items() for site in sites]
