"""When a copy of the databases is due, and what is told of where copies go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import qhs_backup
from qhs_backup import BETWEEN, FULL

NOW = 10_000_000.0
STORES = [{"number": 1, "site": "qhdc", "name": "a"}, {"number": 2, "site": "ndc", "name": "b"}]
SETTINGS = {"bucket": "backups-qhdc", "stores": STORES, "days": 28, "queue_mib": 256}


def copy(kind: str, seconds: float) -> dict[str, Any]:
    return {"type": kind, "timestamp": {"stop": NOW - seconds}}


@pytest.mark.parametrize(
    ("there", "behind", "kind"),
    [
        ([], False, "full"),
        ([copy("diff", 10)], False, "full"),
        ([copy("full", FULL)], False, "full"),
        ([copy("full", FULL), copy("diff", 10)], True, "full"),
        ([copy("full", FULL - 1), copy("diff", BETWEEN - 1)], False, ""),
        ([copy("full", FULL - 1), copy("diff", BETWEEN)], False, "diff"),
        ([copy("full", BETWEEN - 1)], False, ""),
        ([copy("full", 10)], True, "diff"),
    ],
)
def test_a_copy_is_due_by_its_age_or_as_a_part_of_the_log_is_lacking(
    there: list[dict[str, Any]], behind: bool, kind: str
) -> None:
    assert qhs_backup.due(there, NOW, behind=behind) == kind


def test_every_store_is_encrypted_and_asked_for_its_certificate_and_each_beginning_has_its_own_place() -> None:
    lines = qhs_backup.config(SETTINGS, STORES, 77, "the pass", "the key").splitlines()
    for number in (1, 2):
        for wanted in ("cipher-type=aes-256-cbc", "cipher-pass=the pass", "path=/77", "s3-key-secret=the key"):
            assert f"repo{number}-{wanted}" in lines
        assert f"repo{number}-storage-ca-file=/etc/qhs/tls/ca.crt" in lines
    assert not any("verify-tls" in line for line in lines)
    other = qhs_backup.config(SETTINGS, STORES[1:], 78, "the pass", "the key")
    assert "repo1-" not in other and "repo2-path=/78" in other


def test_without_data_it_is_said_and_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qhs_backup, "DATA", tmp_path)
    with pytest.raises(qhs_backup.FailedError, match="there is no data yet"):
        qhs_backup.identifier()
    (tmp_path / "global").mkdir()
    (tmp_path / "global/pg_control").write_bytes((7713721996979355691).to_bytes(8, "little") + b"rest")
    assert qhs_backup.identifier() == 7713721996979355691


def test_a_copy_is_of_the_timeline_that_its_log_began_by() -> None:
    there = [
        copy("full", 100) | {"archive": {"start": "000000050000000000000018"}},
        copy("diff", 10) | {"archive": {"start": "0000000D0000000000000023"}},
    ]
    assert qhs_backup.of(13, there)
    assert not qhs_backup.of(5, there), "another site has written since"
    assert qhs_backup.of(5, []), "the first one is due anyway"
