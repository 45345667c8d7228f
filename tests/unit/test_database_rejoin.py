"""A member that follows a copy is copied anew where it has what that one has not, and nobody else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import qhs_database_rejoin

AT, AFTER = 0x5000000, 0x5000001
HISTORY = "1\t0/3000000\tno recovery target specified\n\n3\t0/5000000\tno recovery target specified\n"
LEADER = {"name": "db1", "role": "standby_leader", "timeline": 4}


class Patroni:
    """Answers as it is told to, and keeps what it is asked to change."""

    def __init__(self, *members: dict[str, Any]) -> None:
        self.members = members
        self.asked: list[tuple[str, Any]] = []

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if method == "GET":
            assert path == "/cluster"
            return {"members": list(self.members)}
        self.asked.append((path, body))
        return {}


def looks(monkeypatch: pytest.MonkeyPatch, log: Path, leader: dict[str, Any], **status: Any) -> list[tuple[str, Any]]:
    """What Patroni is asked to do."""
    (log / "00000004.history").write_text(HISTORY)
    found = {"role": "replica", "timeline": 3, "xlog": {"replayed_location": AFTER}} | status
    patroni = Patroni({"name": "db2", "role": "replica"}, leader)
    monkeypatch.setattr(qhs_database_rejoin, "LOG", log)
    monkeypatch.setattr(qhs_database_rejoin, "patroni", patroni)
    monkeypatch.setattr(qhs_database_rejoin, "status", lambda: found)
    assert qhs_database_rejoin.main() == 0
    return patroni.asked


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({}, id="past where its timeline ended"),
        pytest.param({"timeline": 2}, id="of a timeline that the copy never was on"),
    ],
)
def test_one_that_went_astray_is_copied_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: dict[str, Any]
) -> None:
    assert looks(monkeypatch, tmp_path, LEADER, **status) == [("/reinitialize", {"force": False})]


@pytest.mark.parametrize(
    ("leader", "status"),
    [
        pytest.param(LEADER, {"xlog": {"replayed_location": AT}}, id="just where its timeline ended"),
        pytest.param(LEADER, {"timeline": 1, "xlog": {"replayed_location": 0x2000000}}, id="far behind"),
        pytest.param(LEADER, {"replication_state": "streaming"}, id="follows"),
        pytest.param(LEADER, {"timeline": 4}, id="of the same timeline"),
        pytest.param(LEADER, {"role": "standby_leader"}, id="leads the copy"),
        pytest.param(LEADER, {"role": "uninitialized", "timeline": None}, id="is being copied"),
        pytest.param(LEADER | {"role": "leader"}, {}, id="Patroni minds those that follow who takes writes"),
        pytest.param(LEADER | {"timeline": 6}, {}, id="where the copy's timeline began is not known here"),
    ],
)
def test_nobody_else_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, leader: dict[str, Any], status: dict[str, Any]
) -> None:
    assert looks(monkeypatch, tmp_path, leader, **status) == []


def test_where_patroni_does_not_answer_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away() -> dict[str, Any]:
        raise OSError("refused")

    monkeypatch.setattr(qhs_database_rejoin, "status", away)
    assert qhs_database_rejoin.main() == 1
    assert capsys.readouterr().err == "refused\n"
