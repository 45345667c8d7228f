"""T-F17: every rule of the twin deleted, added to and moved, one at a time; the proof is red for all that matters."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from qhs.net.prove import facts, judge
from qhs.net.prove.plan import planned
from stacks.model import load
from tests.mutants import fates, mutants

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def test_every_changed_rule_makes_the_proof_red(figures: dict[str, float]) -> None:
    estate = load("twin", NOW)
    listings = planned(estate)
    every = list(mutants(listings))
    started = time.monotonic()
    found = fates(judge(facts(estate), listings, NOW), listings, every)
    figures["mutants"] = len(every)
    figures["without effect"] = len(found.equal)
    figures["survived"] = len(found.survived)
    figures["killed percent"] = round(100 * len(found.killed) / (len(found.killed) + len(found.survived)), 2)
    figures["mutants a second"] = round(len(every) / (time.monotonic() - started), 1)
    assert [f"{one.machine}: {one.what}" for one in found.survived[:20]] == []
