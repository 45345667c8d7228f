"""The program of every stack: parse its name, load the estate, declare its layer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pulumi

from stacks import network, signing
from stacks.model import ModelError, load
from stacks.model.checks import expiring
from stacks.model.signing import signing_sites
from stacks.name import StackName


def declare() -> None:
    """Declare the selected stack; raises ValueError or ModelError where it cannot be."""
    name = StackName.parse(pulumi.get_stack())
    estate = load(name.environment)
    of_layer = {"network": estate.active_sites, "signing": signing_sites(estate)}
    if name.layer not in of_layer:
        raise ValueError(f"found the layer {name.layer}; wanted one that exists so far: {', '.join(of_layer)}")
    if name.site not in of_layer[name.layer]:
        sites = ", ".join(of_layer[name.layer])
        raise ValueError(f"{name.environment} has no {name.layer} at {name.site}; wanted a site that has: {sites}")
    for text in expiring(estate, datetime.now(UTC)):
        pulumi.log.warn(text)
    if name.layer == "network":
        network.declare(estate, name.site)
    else:
        folder = pulumi.Config().get("certificates")
        signing.declare(estate, name.site, Path(folder) if folder else None)


try:
    declare()
except (ModelError, ValueError) as fault:
    # One message for a fault of the data: a traceback would bury it.
    raise pulumi.RunError(str(fault)) from None
