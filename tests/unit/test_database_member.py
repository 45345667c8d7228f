"""What a member of the databases makes of what Patroni says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import qhs_database
from qhs_database import SERVES, SERVES_NOT


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"role": "primary", "state": "running"}, ""),
        ({"role": "standby_leader", "state": "running", "replication_state": "streaming"}, ""),
        ({"role": "standby_leader", "state": "running"}, "it is standby_leader, running, and does not stream"),
        ({"role": "replica", "state": "running", "replication_state": "streaming"}, ""),
        ({"role": "replica", "state": "running"}, "it is replica, running, and does not stream"),
        ({"role": "replica", "state": "starting"}, "it is replica, starting, and does not stream"),
        ({"role": "primary", "state": "stopping"}, "it is primary, stopping, and does not stream"),
    ],
)
def test_a_member_that_leads_or_follows_has_the_data_and_no_other(found: dict[str, Any], says: str) -> None:
    assert qhs_database.wrong(found) == says


@pytest.mark.parametrize(
    ("action", "role", "value"),
    [
        ("on_start", "primary", SERVES),
        ("on_role_change", "standby_leader", SERVES),
        ("on_role_change", "replica", SERVES_NOT),
        ("on_start", "replica", SERVES_NOT),
        ("on_stop", "primary", SERVES_NOT),
    ],
)
def test_the_address_is_with_whoever_leads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, action: str, role: str, value: int
) -> None:
    settings = tmp_path / "member.json"
    settings.write_text(json.dumps({"served": str(tmp_path / "served")}))
    monkeypatch.setattr(qhs_database, "SETTINGS", settings)
    monkeypatch.setattr("sys.argv", ["qhs_database.py", action, role, "database"])
    assert qhs_database.main() == 0
    assert int((tmp_path / "served").read_text()) == value


def test_a_member_without_patroni_is_reported_as_one_that_does_not_follow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def away() -> dict[str, Any]:
        raise OSError("refused")

    monkeypatch.setattr(qhs_database, "status", away)
    monkeypatch.setattr(qhs_database, "METRICS", tmp_path / "qhs_database.prom")
    qhs_database.report()
    assert (tmp_path / "qhs_database.prom").read_text() == "qhs_database_leads 0\nqhs_database_whole 0\n"
    assert qhs_database.check() == "Patroni does not answer: refused"


def test_a_start_finds_what_it_needs_and_a_reload_whom_to_believe_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    for name in ("ca.crt", "provisioners.crt"):
        (tmp_path / name).write_text(f"{name}\n")
    for name, value in {"RUNTIME": runtime, "TLS": tmp_path, "SETTINGS": tmp_path / "member.json"}.items():
        monkeypatch.setattr(qhs_database, name, value)
    monkeypatch.setattr("sys.argv", ["qhs_database.py", "prepare"])
    assert qhs_database.main() == 0
    links = {path.name: path.readlink() for path in (runtime / "config").iterdir()}
    assert links == {"member.yml": tmp_path / "patroni.json"}
    (tmp_path / "provisioners.crt").write_text("another\n")
    assert qhs_database.main() == 0
    assert (runtime / "clients.crt").read_text() == "ca.crt\nanother\n"
