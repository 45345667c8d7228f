"""The devices of a site in the plan, and the authority that its certificates must come from (C-HSM-02, C-SIG-01)."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declared
from stacks.model import Estate
from stacks.model.signing import devices


class SigningSite(Declared):
    """The parent of all that a `signing` stack holds. Serves S-050."""

    def __init__(self, estate: Estate, site: str, opts: pulumi.ResourceOptions | None = None) -> None:
        props = {
            "environment": estate.inventory.environment,
            "site": site,
            "devices": devices(estate, site),
            "quorum": estate.inventory.signing.quorum,
            "authority": estate.inventory.signing.authority,
            "limits": {name: list(one.controls) for name, one in estate.inventory.limits.items()},
        }
        super().__init__(
            "qhs:signing:Site",
            f"{site}-signing",
            owner="vpqh-attt",
            level=max(zone.level for zone in estate.catalogue.zones.values() if zone.kind == "signing"),
            serves=["S-050", "C-HSM-02", "C-HSM-03", "C-SIG-01"],
            props=props,
            opts=opts,
        )
