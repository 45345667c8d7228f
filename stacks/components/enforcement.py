"""What one firewall pair or one machine enforces: its ruleset, declared by the highest level it protects."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declarations, Declared
from stacks.model import Estate
from stacks.model.rules import Ruleset
from stacks.provider.ruleset.resource import Ruleset as RulesetResource
from stacks.provider.ruleset.resource import ruleset_inputs


class Enforcement(Declared):
    """A Ruleset and the declarations it is judged by (C-NET-02). Serves what its flows serve."""

    def __init__(self, estate: Estate, ruleset: Ruleset, opts: pulumi.ResourceOptions | None = None) -> None:
        ports = [port for name in ruleset.members for port in estate.machines[name].interfaces]
        zones = [estate.catalogue.zones[zone] for port in ports if (zone := port.place.partition(".")[2])]
        level = max(zone.level for zone in zones)
        declared: Declarations = {"owner": "vpqh-attt", "level": level, "serves": ["S-010", "C-NET-02"]}
        super().__init__(
            "qhs:network:Enforcement",
            ruleset.target,
            **declared,
            props={"target": ruleset.target},
            opts=opts,
        )
        RulesetResource(
            ruleset.target,
            **ruleset_inputs(ruleset, estate.catalogue.flows, **declared),
            opts=pulumi.ResourceOptions(parent=self),
        )
