"""A site of the estate in the plan, with every prefix that its own must not overlap (C-NET-16)."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declared
from stacks.model import Estate


class SiteNetwork(Declared):
    """The parent of all that a `network` stack holds. Serves S-005 and S-018."""

    def __init__(self, estate: Estate, site: str, opts: pulumi.ResourceOptions | None = None) -> None:
        inventory = estate.inventory
        zones = [zone for zone in estate.catalogue.zones.values() if site in zone.sites]
        props = {
            "environment": inventory.environment,
            "site": site,
            "sites": {name: {"ipv4": str(one.ipv4), "ipv6": str(one.ipv6)} for name, one in inventory.sites.items()},
            "externals": {
                name: {
                    "ipv4": str(one.ipv4),
                    "ipv6": str(one.ipv6),
                    "medium": estate.catalogue.externals[name].medium,
                }
                for name, one in inventory.externals.items()
            },
            "zones": {name: zone.kind.value for name, zone in estate.catalogue.zones.items()},
            "carriers": list(inventory.sites[site].carriers),
            "partners": {
                place.name: estate.catalogue.partners[place.partner].state_body
                for place in estate.places.values()
                if place.partner
            },
        }
        super().__init__(
            "qhs:network:Site",
            f"{site}-network",
            owner="vpqh-cntt",
            level=max(zone.level for zone in zones),
            serves=["S-005", "S-018", "C-NET-16"],
            props=props,
            opts=opts,
        )
