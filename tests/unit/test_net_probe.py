"""Which packets `qhs net probe` sends, and what it makes of each one's fate."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from catalogue_copy import NOW, Copy

from qhs.net.probe import vantage
from qhs.net.probe.run import Probe, probes
from qhs.net.probe.vantage import Vantage, vantages
from qhs.twin.names import Twin
from stacks.model import Estate

EXPIRY = datetime.fromisoformat("2027-03-31T17:00:00Z")


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine runs here: which namespace is its own does not matter."""
    monkeypatch.setattr(vantage, "_namespace", lambda _twin, _machine: Path("/nowhere"))


def places(estate: Estate) -> list[Vantage]:
    return vantages(estate, Twin("none"))


@pytest.mark.usefixtures("anywhere")
def test_a_packet_of_an_expired_flow_must_not_get_through(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path, "twin")
    copy.change("flows.yaml", "app-to-postgres:", "review:", f"expires: {EXPIRY.isoformat()}\n  review:")
    estate = copy.read()

    def allowed(now: datetime) -> set[str | None]:
        return {one.allowed_by for one in probes(estate, places(estate), now) if one.target.service == "postgres"}

    assert "app-to-postgres" in allowed(EXPIRY - timedelta(seconds=1))
    assert "app-to-postgres" not in allowed(EXPIRY)


@pytest.mark.usefixtures("anywhere")
def test_a_sample_is_one_allowed_and_one_denied_packet_a_service_and_family(estate: Estate) -> None:
    def kind(one: Probe) -> tuple[str, bool, bool]:
        return one.target.service, ":" in one.address, one.allowed_by is None

    every = probes(estate, places(estate), NOW)
    sample = probes(estate, places(estate), NOW, sample=True)
    assert sorted(map(kind, sample)) == sorted({kind(one) for one in every})
    assert len(sample) == 4 * len({one.target.service for one in every}) > 0
    assert set(sample) <= set(every)
