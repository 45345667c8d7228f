"""Who sets up a secret store, and who signs, shows a certificate of some hours, of an authority for nobody else."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from qhs.pki import root
from qhs.pki.credentials import PROVISIONER, PROVISIONERS, SIGNATORIES, VALID_FOR


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An authority's folder, with the root of machines beside."""
    key, certificate = root.made()
    root.key(tmp_path).write_bytes(key)
    root.certificate(tmp_path).write_bytes(certificate)
    PROVISIONERS.ensure(tmp_path)
    return tmp_path


def believed(path: Path, authority: Path) -> bool:
    command = ["openssl", "verify", "-purpose", "sslclient", "-CAfile", str(authority), str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_stores_believe_it_and_the_machines_do_not(own: Path) -> None:
    path = PROVISIONERS.current(own, PROVISIONER)
    assert believed(path, PROVISIONERS.certificate(own))
    assert not believed(path, root.certificate(own))
    assert path.stat().st_mode & 0o077 == 0


def test_it_is_signed_anew_when_less_than_an_hour_is_left(own: Path) -> None:
    def serial(now: datetime) -> int:
        return x509.load_pem_x509_certificate(PROVISIONERS.current(own, PROVISIONER, now).read_bytes()).serial_number

    now = datetime.now(UTC)
    first = serial(now)
    assert serial(now + VALID_FOR - timedelta(minutes=61)) == first
    assert serial(now + VALID_FOR - timedelta(minutes=59)) != first


def test_the_authority_stays_over_runs(own: Path) -> None:
    before = PROVISIONERS.certificate(own).read_bytes()
    PROVISIONERS.ensure(own)
    assert PROVISIONERS.certificate(own).read_bytes() == before


def test_who_sets_up_a_store_signs_nothing(own: Path) -> None:
    SIGNATORIES.ensure(own)
    assert not believed(PROVISIONERS.current(own, PROVISIONER), SIGNATORIES.certificate(own))
    assert not believed(SIGNATORIES.current(own, "nguoi-ky-01"), PROVISIONERS.certificate(own))
