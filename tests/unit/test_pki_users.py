"""Who may log in, and for how long; OpenSSH judges the certificates and the list."""

from __future__ import annotations

import contextlib
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qhs.errors import UserError
from qhs.pki import cli, current, ensure, folder, revoke, trust_hosts
from qhs.pki.users import VALID_FOR, serial_of
from qhs.twin.names import Twin
from qhs.twin.sshkey import make
from stacks.model import Estate

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make(tmp_path / "id")


def test_what_is_secret_is_for_its_owner_alone_and_made_once(own: Path) -> None:
    assert own.stat().st_mode & 0o777 == 0o700
    before = {name: (own / name).read_bytes() for name in ("root.key", "root.crt", "users", "users.pub", "revoked")}
    assert {(own / name).stat().st_mode & 0o777 for name in ("root.key", "users")} == {0o600}
    assert ensure(Twin("one")) == folder(Twin("one")) == own
    assert {name: (own / name).read_bytes() for name in before} == before


def test_a_certificate_is_for_one_account_and_some_hours(own: Path, key: Path) -> None:
    said = subprocess.run(
        ["ssh-keygen", "-L", "-f", current(own, key, "qhs", NOW)],
        capture_output=True, text=True, check=True, env={"TZ": "UTC"},
    ).stdout  # fmt: skip
    assert "user certificate" in said
    assert "from 2026-11-25T11:55:00 to 2026-11-26T00:00:00" in said
    assert said.partition("Principals:")[2].split()[0] == "qhs"
    assert said.partition("Extensions:")[2].split() == ["permit-pty"]


def test_a_certificate_is_kept_while_half_of_its_time_is_left(own: Path, key: Path) -> None:
    first = serial_of(current(own, key, "qhs", NOW))
    assert serial_of(current(own, key, "qhs", NOW + VALID_FOR / 2 - timedelta(minutes=1))) == first
    assert serial_of(current(own, key, "qhs", NOW + VALID_FOR / 2)) != first


def test_a_revoked_certificate_is_on_openssh_s_list_and_replaced(own: Path, key: Path, tmp_path: Path) -> None:
    def listed(certificate: Path) -> bool:
        krl = str(tmp_path / "krl")
        subprocess.run(["ssh-keygen", "-q", "-k", "-f", krl, "-s", own / "users.pub", own / "revoked"], check=True)
        asked = subprocess.run(["ssh-keygen", "-Q", "-f", krl, certificate], capture_output=True, check=False)
        return asked.returncode != 0

    old = tmp_path / "old-cert.pub"
    old.write_bytes(current(own, key, "qhs", NOW).read_bytes())
    assert not listed(old)
    assert revoke(own, serial_of(old))
    assert not revoke(own, serial_of(old)), "once is enough"
    assert listed(old)
    assert not listed(current(own, key, "qhs", NOW))


@pytest.mark.parametrize("content", [b"", b"no certificate", b"ssh-ed25519 AAAA"])
def test_what_is_no_user_certificate_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=r"id_ed25519-cert\.pub"):
        serial_of(tmp_path / "file")


def test_the_authority_of_a_site_vouches_for_its_own_hosts_alone(own: Path, tmp_path: Path) -> None:
    """ssh-keygen -F reads known hosts as ssh does."""
    authority = make(tmp_path / "authority").with_name("authority.pub").read_text().strip()
    trust_hosts(own, "qhdc", authority)

    def found(host: str) -> str:
        command = ["ssh-keygen", "-F", host, "-f", own / "hosts" / "qhdc"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    assert "@cert-authority qhdc-*" in found("qhdc-app1")
    assert found("ndc-app1") == ""


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_machines_are_told_of_a_revocation_once_more_where_one_did_not_answer(
    monkeypatch: pytest.MonkeyPatch, estate: Estate, failures: int
) -> None:
    told: list[str] = []

    def play(_twin: Twin, _estate: Estate, playbook: str, *_: object) -> None:
        told.append(playbook)
        if len(told) <= failures:
            raise UserError("UNREACHABLE", "put it right")

    monkeypatch.setattr(cli.ansible, "play", play)
    with pytest.raises(UserError) if failures == 2 else contextlib.nullcontext():
        cli._tell(Twin("one"), estate)
    assert told == ["certificates.yml"] * min(2, failures + 1)
