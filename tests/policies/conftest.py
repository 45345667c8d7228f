"""Fixtures of the policy tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from policies.baseline import Baseline, load
from policies.rules import REGISTRY, run
from policies.verdicts import Report
from tests.policies.plans import Plan, certificate, facts, read_clean


@pytest.fixture(scope="session")
def baseline() -> Baseline:
    """With an authority for duty signatures that is known, as that of the clean plan."""
    found = load()
    control = found.controls["C-SIG-01"]
    anchor = load_pem_x509_certificate(certificate("authority.pem").encode()).fingerprint(SHA256()).hex()
    known = control.model_copy(update={"thresholds": {"authorities": {"cipher-committee": [anchor]}}})
    return found.model_copy(update={"controls": {**found.controls, "C-SIG-01": known}})


@pytest.fixture
def clean() -> Plan:
    return read_clean()


@pytest.fixture
def judge(baseline: Baseline) -> Callable[..., Report]:
    """Judge a plan by the whole registry: a case must be found by one rule and by no other."""

    def _judge(plan: Plan, by: Baseline = baseline) -> Report:
        found = facts(plan)
        assert found.malformed == ()
        return run(REGISTRY, found, by, found.limits)

    return _judge
