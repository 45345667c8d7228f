"""Whoever sets up a secret store shows a certificate of some hours, of an authority that signs for nobody else."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from qhs.pki import provisioner, root


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An authority's folder, with the root of machines beside."""
    key, certificate = root.made()
    root.key(tmp_path).write_bytes(key)
    root.certificate(tmp_path).write_bytes(certificate)
    provisioner.ensure(tmp_path)
    return tmp_path


def believed(path: Path, authority: Path) -> bool:
    command = ["openssl", "verify", "-purpose", "sslclient", "-CAfile", str(authority), str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_stores_believe_it_and_the_machines_do_not(own: Path) -> None:
    path = provisioner.current(own)
    assert believed(path, provisioner.certificate(own))
    assert not believed(path, root.certificate(own))
    assert path.stat().st_mode & 0o077 == 0


def test_it_is_signed_anew_when_less_than_an_hour_is_left(own: Path) -> None:
    def serial(now: datetime) -> int:
        return x509.load_pem_x509_certificate(provisioner.current(own, now).read_bytes()).serial_number

    now = datetime.now(UTC)
    first = serial(now)
    assert serial(now + provisioner.VALID_FOR - timedelta(minutes=61)) == first
    assert serial(now + provisioner.VALID_FOR - timedelta(minutes=59)) != first


def test_the_authority_stays_over_runs(own: Path) -> None:
    before = provisioner.certificate(own).read_bytes()
    provisioner.ensure(own)
    assert provisioner.certificate(own).read_bytes() == before
