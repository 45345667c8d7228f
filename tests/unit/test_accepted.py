"""T-A02: a phase that takes much longer than was accepted is reported."""

from __future__ import annotations

import pytest

from tests.twin import accepted


@pytest.mark.parametrize("run", ["first", "second"])
def test_what_was_accepted_is_not_slower_and_1_3_times_of_it_not_yet(run: str) -> None:
    own = accepted.ACCEPTED[run]
    assert "in all" in own
    assert accepted.slower(run, own) == []
    assert accepted.slower(run, {phase: 1.3 * one for phase, one in own.items()}) == []


def test_a_slower_phase_is_named_with_both_figures() -> None:
    own = accepted.ACCEPTED["first"]
    (line,) = accepted.slower("first", own | {"ansible": 2 * own["ansible"]})
    assert line.startswith(f"first up: ansible took {2 * own['ansible']:.1f} s, 2.0 times the accepted ")


def test_a_machine_whose_boots_took_twice_as_long_is_twice_as_slow() -> None:
    own = accepted.ACCEPTED["first"]
    assert accepted.slowness(own | {"machines": 2 * own["machines"]}) == 2
    assert accepted.slowness(own | {"machines": own["machines"] / 2}) == 1
