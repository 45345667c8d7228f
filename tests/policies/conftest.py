"""Fixtures of the policy tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policies.baseline import Baseline, load
from policies.rules import REGISTRY, run
from policies.verdicts import Report
from tests.policies.plans import Plan, facts, read_clean


@pytest.fixture(scope="session")
def baseline() -> Baseline:
    return load()


@pytest.fixture
def clean() -> Plan:
    return read_clean()


@pytest.fixture
def judge(baseline: Baseline) -> Callable[..., Report]:
    """Judge a plan by the whole registry: a case must be found by one rule and by no other."""

    def _judge(plan: Plan, by: Baseline = baseline) -> Report:
        found = facts(plan)
        assert found.malformed == ()
        return run(REGISTRY, found, by)

    return _judge
