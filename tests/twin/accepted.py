"""How long `qhs up` may take: the accepted seconds of each phase, and what took much longer (T-A02).

They hold for two cores without other work. A busy machine is slower, so that it is reported and fails nothing; whoever
makes `qhs up` slower for a good reason measures `accepted.yaml` anew.
"""

from __future__ import annotations

from pathlib import Path

import yaml

TIMES = 1.3
LEAST = 1.0
"""Seconds: a shorter phase varies by more than that anyway."""
ACCEPTED: dict[str, dict[str, float]] = yaml.safe_load(Path(__file__).with_name("accepted.yaml").read_text())
BOOT = "machines"


def slowness(first: dict[str, float]) -> float:
    """How many times slower than accepted the machines of a first run booted: no role and no stack has a part in it."""
    return max(1.0, first[BOOT] / ACCEPTED["first"][BOOT])


def slower(run: str, seconds: dict[str, float]) -> list[str]:
    """A line for each phase of the `first` or `second` run that took more than 1.3 times what was accepted."""
    return [
        f"{run} up: {phase} took {found:.1f} s, {found / max(accepted, LEAST):.1f} times the accepted {accepted:.1f} s"
        for phase, accepted in ACCEPTED[run].items()
        if (found := seconds[phase]) > TIMES * max(accepted, LEAST)
    ]
