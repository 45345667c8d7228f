"""A segment in the plan: a zone at a site, with its prefixes and its class of trust."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declared
from stacks.model import Estate


class Segment(Declared):
    """A zone at a site (C-NET-01). What it declares is the zone's own."""

    def __init__(self, estate: Estate, site: str, zone: str, opts: pulumi.ResourceOptions | None = None) -> None:
        design = estate.catalogue.zones[zone]
        place = estate.places[f"{site}.{zone}"]
        super().__init__(
            "qhs:network:Segment",
            place.name,
            owner=design.owner,
            level=design.level,
            serves=design.serves,
            props={
                "site": site,
                "zone": zone,
                "kind": design.kind.value,
                "firewall": design.firewall,
                "ipv4": str(place.prefix.ipv4),
                "ipv6": str(place.prefix.ipv6),
            },
            opts=opts,
        )
