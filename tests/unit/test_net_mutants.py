"""T-F17: a sample of the rules changed one at a time; `make soak` changes all of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from qhs.net.prove import Facts, Judge, Proof, judge
from tests.mutants import KINDS, Mutant, fates, mutants

NOW = datetime(2026, 12, 1, tzinfo=UTC)
SAMPLE = 60
FORWARD = "inet qhs forward"


@pytest.fixture
def base(known: Facts, listings: dict[str, Any]) -> Judge:
    return judge(known, listings, NOW)


def sample(every: list[Mutant]) -> list[Mutant]:
    """As many of each kind, the same ones each time for the same rules."""
    chance = random.Random(17)  # noqa: S311 - no secret: a choice that can be repeated
    return [
        one for kind in KINDS for one in chance.sample([it for it in every if it.kind == kind], SAMPLE // len(KINDS))
    ]


def test_a_rule_deleted_added_or_moved_makes_the_proof_red(base: Judge, listings: dict[str, Any]) -> None:
    # What a node passes on for its pods is in no cell: a change of that is found by nobody here.
    seen = [one for one in mutants(listings) if one.chain != FORWARD or base.facts.nodes[one.machine].firewall]
    found = fates(base, listings, sample(seen))
    assert [one.what for one in found.survived] == []
    assert len(found.killed) + len(found.equal) == SAMPLE
    assert {one.kind for one in found.killed} == set(KINDS)
    assert len(found.killed) >= 0.9 * SAMPLE, [one.what for one in found.equal]


def test_a_mutant_that_no_cell_finds_is_told(
    base: Judge, listings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = next(one for one in mutants(listings) if one.kind == "delete" and "app-to-postgres" in one.what)
    assert fates(base, listings, [deleted]).killed == [deleted]
    monkeypatch.setattr(Judge, "about", lambda *_: ())
    assert fates(base, listings, [deleted]).killed == [deleted], "the whole proof finds it as well"
    monkeypatch.setattr("tests.mutants.decided", lambda _: Proof(()))
    assert fates(base, listings, [deleted]).survived == [deleted]
