"""An estate with nothing to do leaves the machine to whoever works on it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.pace import Pace

from .conftest import MEASURED, Run, WatchedUp

pytestmark = pytest.mark.live

WATCHED = 20.0
"""Seconds."""


def machines(qhs: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(qhs("twin", "status", "--json").stdout)["machines"]
    return found


def test_the_idle_estate_takes_half_a_core_and_6_5_gb_at_most(qhs: Run, second_up: WatchedUp) -> None:
    pace, started, before = Pace(), time.monotonic(), machines(qhs)
    time.sleep(WATCHED)
    took, after = time.monotonic() - started, machines(qhs)
    cores = {
        one["name"]: (one["cpu_seconds"] - other["cpu_seconds"]) / took
        for one, other in zip(after, before, strict=True)
    }
    memory = sum(one["memory_bytes"] for one in after)
    MEASURED.append(f"idle: {sum(cores.values()):.2f} cores, {memory / 1e9:.2f} GB, {len(after)} machines")
    assert sum(cores.values()) <= pace.limit(0.5), sorted(cores.items(), key=lambda item: -item[1])[:5]
    assert memory <= 6.5e9  # a GB of it are the 60 parts of applications and who minds each
