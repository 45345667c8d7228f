"""The proof of a plan: the rulesets that an estate would get, loaded by nft before any machine has them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from qhs.net.prove import Proof, facts, prove
from qhs.net.prove.kernel import listings
from stacks.model import Estate
from stacks.model.rules import rulesets
from stacks.provider.ruleset.nft import render


def planned(estate: Estate) -> dict[str, Any]:
    """What nft makes of every ruleset of an estate, by machine. Raises KernelError."""
    texts = {
        member: text
        for site in estate.active_sites
        for ruleset in rulesets(estate, site)
        for text in [render(ruleset.guards, ruleset.flows)]
        for member in ruleset.members
    }
    return listings(texts)


def prove_plan(estate: Estate, now: datetime) -> Proof:
    """Decide every cell of what `up` would write. Raises KernelError and NotUnderstoodError."""
    return prove(facts(estate), planned(estate), now)
