"""The `network` layer of one site: its segments, the ruleset of its firewall pair and of each machine, its names."""

from __future__ import annotations

import pulumi

from stacks.components.enforcement import Enforcement
from stacks.components.segment import Segment
from stacks.components.service_names import ServiceNames
from stacks.components.site_network import SiteNetwork
from stacks.model import Estate
from stacks.model.rules import rulesets


def declare(estate: Estate, site: str) -> None:
    """Declare everything behind the network's APIs at `site`."""
    network = SiteNetwork(estate, site)
    inside = pulumi.ResourceOptions(parent=network)
    for zone, design in estate.catalogue.zones.items():
        if site in design.sites:
            Segment(estate, site, zone, inside)
    for ruleset in rulesets(estate, site):
        Enforcement(estate, ruleset, inside)
    ServiceNames(estate, site, inside)
