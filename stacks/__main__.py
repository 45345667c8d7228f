"""The program of every stack: parse its name, load the estate, declare its layer."""

from __future__ import annotations

from datetime import UTC, datetime

import pulumi

from stacks import network
from stacks.model import ModelError, load
from stacks.model.checks import expiring
from stacks.name import StackName


def declare() -> None:
    """Declare the selected stack; raises ValueError or ModelError where it cannot be."""
    name = StackName.parse(pulumi.get_stack())
    estate = load(name.environment)
    if name.layer != "network" or name.site is None:
        raise ValueError(f"found the layer {name.layer}; wanted network, the one layer that exists so far")
    if name.site not in estate.active_sites:
        sites = ", ".join(estate.active_sites)
        raise ValueError(f"{name.environment} has no firewalls at {name.site}; wanted a site that has: {sites}")
    for text in expiring(estate, datetime.now(UTC)):
        pulumi.log.warn(text)
    network.declare(estate, name.site)


try:
    declare()
except (ModelError, ValueError) as fault:
    # One message for a fault of the data: a traceback would bury it.
    raise pulumi.RunError(str(fault)) from None
