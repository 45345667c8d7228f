"""The signing service refuses, before it signs, by what certificates are; others judge alike (T-E12)."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from chained import broken
from cryptography import x509

from qhs import image
from qhs.pki import stand_in
from qhs.pki.credentials import SIGNATORIES, Issuer
from qhs.signing.client import Credential
from tests.kernel.signer_host import KEYS, SignerHost
from tests.signed_pdf import judged, with_signature

DATA = "Luật này đã được Quốc hội thông qua".encode()
DIGEST = hashlib.sha256(DATA).digest()
KEY = "nguoi-ky-01"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignerHost]:
    with SignerHost.at(tmp_path_factory.mktemp("signer"), image.ensure(print).path) as found:
        yield found


@pytest.fixture(autouse=True)
def fresh(host: SignerHost) -> None:
    """Every key has a new certificate that is good."""
    for label in KEYS:
        host.keep(label, host.certificate(label))
    host.start()
    assert host.refused("cades") == "signed"


def why(host: SignerHost) -> str:
    """The last refusal in its log, which is whole."""
    lines = host.log()
    assert broken(lines) is None
    return str(next(found["why"] for line in reversed(lines) if (found := json.loads(line))["did"] == "refused"))


def kept(host: SignerHost, label: str) -> x509.Certificate:
    """The certificate that the service shows of a key."""
    shown = host.asked(lambda one: one._session.get(f"{one._at}/v1/keys", timeout=5)).json()["keys"][label]
    return x509.load_der_x509_certificate(base64.b64decode(shown))


def test_a_credential_that_was_revoked_releases_nothing_and_a_new_one_does(host: SignerHost) -> None:
    stolen = host.credential(KEY)
    SIGNATORIES.revoke(host.own, stolen.certificate)
    host.start()
    assert host.refused("raw", by=stolen) == why(host) == "credential-revoked"
    assert host.refused("raw") == "signed"
    assert host.refused("raw", "nguoi-ky-02") == "signed"


def test_a_credential_of_another_authority_or_of_yesterday_releases_nothing(host: SignerHost, tmp_path: Path) -> None:
    another = Issuer("another", SIGNATORIES.title)
    another.ensure(tmp_path)
    stranger = Credential.read(another.current(tmp_path, KEY))
    assert host.refused("raw", by=stranger) == why(host) == "credential-unknown"
    (tmp_path / f"{KEY}.pem").unlink()
    for file in (SIGNATORIES.certificate(host.own), host.own / "signatories.key"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    old = Credential.read(SIGNATORIES.current(tmp_path, KEY, datetime.now(UTC) - timedelta(days=1)))
    assert host.refused("raw", by=old) == why(host) == "credential-expired"


@pytest.mark.parametrize("form", ["raw", "cades", "pades"])
def test_a_key_whose_certificate_was_revoked_signs_nothing(host: SignerHost, form: str) -> None:
    stand_in.AUTHORITY.revoke(host.own, kept(host, KEY))
    host.start()
    assert host.refused(form) == why(host) == "certificate-revoked"
    assert host.refused(form, "nguoi-ky-02") == "signed"


@pytest.mark.parametrize("days", [-1096, 1], ids=["ended", "not-begun"])
def test_a_key_whose_certificate_is_not_of_now_signs_nothing(host: SignerHost, days: int) -> None:
    host.keep(KEY, host.certificate(KEY, now=datetime.now(UTC) + timedelta(days=days)))
    host.start()
    assert host.refused("cades") == why(host) == "certificate-expired"


def test_a_key_whose_certificate_another_authority_of_the_name_issued_signs_nothing(
    host: SignerHost, tmp_path: Path
) -> None:
    host.keep(KEY, host.certificate(KEY, tmp_path))
    host.start()
    assert host.refused("cades") == why(host) == "certificate-unknown"


def test_what_cannot_be_stamped_is_not_signed_either(host: SignerHost) -> None:
    stand_in.AUTHORITY.revoke(host.own, kept(host, "time-stamp"))
    host.start()
    assert host.refused("cades") == why(host) == "certificate-revoked"
    assert host.refused("raw") == "signed"


def test_others_refuse_what_was_signed_before_a_certificate_was_revoked(host: SignerHost, tmp_path: Path) -> None:
    cades, pdf = host.signed(DIGEST, "cades"), with_signature(lambda digest: host.signed(digest, "pades"))
    assert "successful" in by_openssl(host, cades, tmp_path)
    status = judged(pdf, *believed(host))
    assert status.bottom_line, status.pretty_print_details()
    stand_in.AUTHORITY.revoke(host.own, kept(host, KEY))
    assert "certificate revoked" in by_openssl(host, cades, tmp_path)
    status = judged(pdf, *believed(host))
    assert not status.bottom_line
    assert status.revoked, status.pretty_print_details()


def by_openssl(host: SignerHost, cades: bytes, folder: Path) -> str:
    """What OpenSSL says of a signature of DATA, with the authority's list of now."""
    (folder / "cms").write_bytes(cades)
    (folder / "text").write_bytes(DATA)
    authority = stand_in.AUTHORITY
    (folder / "trusted").write_bytes(
        b"".join(one(host.own).read_bytes() for one in (authority.certificate, authority.revoked))
    )
    words = "cms -verify -inform DER -in cms -content text -binary -purpose any -out /dev/null -cades -CAfile trusted"
    command = ["openssl", *words.split(), "-crl_check"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ("successful" in done.stderr)
    return done.stderr


def believed(host: SignerHost) -> tuple[Path, Path]:
    return stand_in.AUTHORITY.certificate(host.own), stand_in.AUTHORITY.revoked(host.own)
