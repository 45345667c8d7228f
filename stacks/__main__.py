"""The program of every stack: parse its name, load the estate, declare its layer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pulumi

from stacks import network, replica, signing
from stacks.components.frozen import Freezes
from stacks.layers import stack_names
from stacks.model import Estate, ModelError, load
from stacks.model.checks import expiring
from stacks.model.data import active
from stacks.name import StackName
from stacks.provider.access import TrustAccess

VIET_NAM = timezone(timedelta(hours=7))


def declare() -> None:
    """Declare the selected stack; raises ValueError or ModelError where it cannot be."""
    name = StackName.parse(pulumi.get_stack())
    estate = load(name.environment)
    there = stack_names(estate)
    if name not in there:
        raise ValueError(
            f"found the stack {name}; wanted one that {name.environment} has: {', '.join(map(str, there))}"
        )
    for text in expiring(estate, datetime.now(UTC)):
        pulumi.log.warn(text)
    match name.layer, name.site or active(estate):
        case "network", str(site):
            network.declare(estate, site)
        case "signing", str(site):
            folder = pulumi.Config().get("certificates")
            signing.declare(estate, site, Path(folder) if folder else None, _freezes(estate))
        case "replica", str(site):
            replica.declare(estate, site, _freezes(estate))
        case "cloud", str(site):
            # Its libraries take seconds to import, which no other layer needs.
            from stacks import cloud  # noqa: PLC0415 - see above

            cloud.declare(estate, site, _freezes(estate))


def _freezes(estate: Estate) -> Freezes:
    access = pulumi.Config().get("trustAccess")
    approvers = TrustAccess.read(Path(access)).approvals if access else None
    return Freezes(estate.catalogue.tenants, datetime.now(VIET_NAM).date(), approvers)


try:
    declare()
except (ModelError, ValueError) as fault:
    # One message for a fault of the data: a traceback would bury it.
    raise pulumi.RunError(str(fault)) from None
