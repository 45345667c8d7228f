"""What several unit tests share: the estate of the twin, what nft makes of its rules, a folder of certificates."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible import module_utils

from qhs.net.prove import Facts, facts
from qhs.net.prove.kernel import missing
from qhs.net.prove.plan import planned
from qhs.pki import ensure
from qhs.playbooks import PLAYBOOKS
from qhs.twin.names import Twin
from stacks.model import Estate, load

module_utils.__path__.append(str(PLAYBOOKS / "plugins" / "module_utils"))  # where ansible.cfg has Ansible look too
NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a twin's certificates, freshly made."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return ensure(Twin("one"))


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
