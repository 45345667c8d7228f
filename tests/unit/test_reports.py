"""What reports say of an environment: its limits, in every table, and figures that are what is enforced."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from rich.console import Console, RenderableType

from qhs import closing, plan, up
from qhs.net.prove import Proof
from qhs.net.prove import report as proving
from stacks.model import Estate
from stacks.model.rules import rulesets

NOW = datetime(2026, 12, 1, tzinfo=UTC)
LIMIT = "limit no-apparmor: no mandatory access control in the machines: "
TABLES: dict[str, Callable[[Estate], RenderableType]] = {
    "up": lambda estate: closing.table(up.Report("twin", limits=estate.inventory.limit_lines())),
    "plan": lambda estate: plan.table(plan.Report([], estate.inventory.limit_lines())),
    "prove": lambda estate: proving.table(proving.report(Proof(()), estate, NOW)),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_shows_the_limits(name: str, estate: Estate) -> None:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(TABLES[name](estate))
    assert LIMIT in shown.get()


def test_a_limit_says_what_stands_in_for_it_and_which_controls_it_touches(estate: Estate) -> None:
    (line,) = (one for one in estate.inventory.limit_lines() if one.startswith(LIMIT))
    assert line.endswith("instead: services run as users of their own, with systemd's sandboxing (C-HOST-02)")


def test_up_counts_the_flows_that_a_ruleset_holds(estate: Estate) -> None:
    """A flow inside the enclave passes nothing of ours: no ruleset holds it."""
    enforced = [one for site in estate.active_sites for one in rulesets(estate, site)]
    flows, rules = up.counts(enforced)
    held = {name for one in enforced for name in one.flows}
    assert (flows, "enclave-inside" in held) == (len(held), False)
    assert flows < len({one.flow for one in estate.conversations})
    assert rules > flows
