"""A site of the estate in the plan, with every prefix that its own must not overlap (C-NET-16), and each centre."""

from __future__ import annotations

from typing import Any

import pulumi

from stacks.components.declared import Declared
from stacks.model import Estate, service_names


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
            "limits": {name: list(one.controls) for name, one in inventory.limits.items()},
            "centres": {name: _centre(estate, name) for name in service_names.sites(estate)},
            "tenants": {name: _promised(estate, one.tier) for name, one in estate.catalogue.tenants.items()},
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


def _centre(estate: Estate, site: str) -> dict[str, Any]:
    """What each of two centres is to have that the other one has (C-DR-02)."""
    zones = {name: zone for name, zone in estate.catalogue.zones.items() if site in zone.sites}
    design = estate.inventory.sites[site]
    return {
        "facility": design.facility,
        "roles": sorted({role for group in design.groups.values() for role in group.roles}),
        "zones": {
            name: {"kind": zone.kind.value, "firewall": zone.firewall, "level": zone.level}
            for name, zone in zones.items()
        },
    }


def _promised(estate: Estate, tier: int) -> dict[str, int]:
    """In minutes, by tier (C-DR-04)."""
    one = estate.catalogue.tiers[tier]
    return {"rto": one.rto_minutes, "rpo": one.rpo_minutes, "mtd": one.mtd_minutes}
