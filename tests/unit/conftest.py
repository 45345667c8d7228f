"""What several unit tests share: the twin's estate and what nft makes of its rules, both read once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from qhs.net.prove import Facts, facts
from qhs.net.prove.kernel import missing
from qhs.net.prove.plan import planned
from stacks.model import Estate, load

NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def estate() -> Estate:
    return load("twin", NOW)


@pytest.fixture(scope="session")
def known(estate: Estate) -> Facts:
    return facts(estate)


@pytest.fixture(scope="session")
def rules(estate: Estate) -> str:
    """The listing of every machine, as text: so that no test can change another's."""
    if reason := missing():
        pytest.skip(f"rulesets cannot be loaded: {reason}")
    return json.dumps(planned(estate))


@pytest.fixture
def listings(rules: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rules)
    found["qhdc-fw2"] = found["qhdc-fw1"]  # as planned: a pair has one ruleset
    return found
