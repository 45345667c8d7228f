"""Whom a signer believes: nobody whose certificate is expired, revoked or of another authority (T-E12)."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from refusing import NoSignatureError
from vouching import Authority, Files

from qhs.errors import UserError
from qhs.pki import cli, root, stand_in
from qhs.pki.authority import LIST_FOR
from qhs.pki.credentials import SIGNATORIES, VALID_FOR, Issuer, read

HOLDER = "nguoi-ky-01"
DAY = timedelta(days=1)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    SIGNATORIES.ensure(tmp_path)
    SIGNATORIES.ensure_list(tmp_path)
    return tmp_path


def believing(own: Path, ahead: timedelta = timedelta()) -> Authority:
    """As a signer that has just started, with a clock that is ahead."""
    files = Files(SIGNATORIES.certificate(own), SIGNATORIES.revoked(own), own / "newest.crl")
    return Authority("credential", files, (datetime.now(UTC) + ahead).timestamp)


def der(path: Path) -> bytes:
    return read(path).public_bytes(Encoding.DER)


def refused(believing: Authority, shown: bytes) -> str:
    with pytest.raises(NoSignatureError) as error:
        believing.vouched(shown)
    return f"{error.value.status} {error.value.code}"


def test_whom_it_has_revoked_is_refused_and_nobody_else(own: Path) -> None:
    stolen, other = SIGNATORIES.current(own, HOLDER), SIGNATORIES.current(own, "nguoi-ky-02")
    shown = der(stolen)
    assert believing(own).vouched(shown) == read(stolen)
    assert SIGNATORIES.revoke(own, read(stolen))
    assert refused(believing(own), shown) == "403 credential-revoked"
    assert believing(own).vouched(der(other)) == read(other)
    assert not SIGNATORIES.revoke(own, read(stolen))


def test_who_was_revoked_gets_a_new_credential_that_is_good(own: Path) -> None:
    stolen = read(SIGNATORIES.current(own, HOLDER))
    SIGNATORIES.revoke(own, stolen)
    fresh = SIGNATORIES.current(own, HOLDER)
    assert read(fresh) != stolen
    assert believing(own).vouched(der(fresh)) == read(fresh)


def test_what_has_ended_or_not_begun_is_refused(own: Path) -> None:
    shown = der(SIGNATORIES.current(own, HOLDER))
    for ahead in (VALID_FOR + timedelta(minutes=1), -timedelta(minutes=6)):
        assert refused(believing(own, ahead), shown) == "403 credential-expired"


def test_an_authority_that_has_ended_vouches_for_nobody(own: Path) -> None:
    late = root.ROOT_FOR + timedelta(hours=1)
    shown = der(SIGNATORIES.current(own, HOLDER, datetime.now(UTC) + late))
    SIGNATORIES.ensure_list(own, datetime.now(UTC) + late)
    assert refused(believing(own, late), shown) == "403 credential-expired"


def test_who_has_the_name_of_the_authority_but_not_its_key_is_refused(own: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    another = Issuer("another", SIGNATORIES.title)
    another.ensure(folder)
    assert refused(believing(own), der(another.current(folder, HOLDER))) == "403 credential-unknown"
    assert refused(believing(own), b"no certificate") == "403 credential-unknown"


def test_without_a_list_of_now_nobody_is_believed_and_the_other_device_is_asked(own: Path) -> None:
    late = LIST_FOR + timedelta(hours=1)
    shown = der(SIGNATORIES.current(own, HOLDER, datetime.now(UTC) + late))
    assert refused(believing(own, late), shown) == "503 credential-unsure"
    SIGNATORIES.ensure_list(own, datetime.now(UTC) + late)
    assert believing(own, late).vouched(shown)
    SIGNATORIES.revoked(own).unlink()
    (own / "newest.crl").unlink()
    assert refused(believing(own, late), shown) == "503 credential-unsure"


def test_an_older_list_takes_no_revocation_back(own: Path) -> None:
    stolen = SIGNATORIES.current(own, HOLDER)
    before = SIGNATORIES.revoked(own).read_bytes()
    SIGNATORIES.revoke(own, read(stolen))
    assert refused(believing(own), der(stolen)) == "403 credential-revoked"
    SIGNATORIES.revoked(own).write_bytes(before)
    assert refused(believing(own), der(stolen)) == "403 credential-revoked"


def signed_list(own: Path, key: ec.EllipticCurvePrivateKey, *more: x509.ExtensionType) -> bytes:
    """An empty list with a high number in the name of the authority."""
    now = datetime.now(UTC)
    built = x509.CertificateRevocationListBuilder().issuer_name(SIGNATORIES.read(own).subject)
    built = built.last_update(now).next_update(now + DAY).add_extension(x509.CRLNumber(99), critical=False)
    for one in more:
        built = built.add_extension(one, critical=True)
    return built.sign(key, hashes.SHA384()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("odd", ["another-key", "part", "torn"])
def test_a_list_that_is_not_the_authoritys_or_not_whole_counts_for_nothing(own: Path, odd: str) -> None:
    stolen = SIGNATORIES.current(own, HOLDER)
    SIGNATORIES.revoke(own, read(stolen))
    believing(own)
    path = SIGNATORIES.revoked(own)
    path.write_bytes(
        {
            "another-key": lambda: signed_list(own, ec.generate_private_key(ec.SECP384R1())),
            "part": lambda: signed_list(own, SIGNATORIES.signing(own), x509.DeltaCRLIndicator(1)),
            "torn": lambda: path.read_bytes()[:200],
        }[odd]()
    )
    assert refused(believing(own), der(stolen)) == "403 credential-revoked"


def test_a_list_is_made_anew_when_half_of_its_time_is_left_and_forgets_nobody(own: Path) -> None:
    stolen = read(SIGNATORIES.current(own, HOLDER))
    SIGNATORIES.revoke(own, stolen)
    before, now = SIGNATORIES.revoked(own).read_bytes(), datetime.now(UTC)
    SIGNATORIES.ensure_list(own, now + LIST_FOR / 2 - timedelta(minutes=5))
    assert SIGNATORIES.revoked(own).read_bytes() == before
    SIGNATORIES.ensure_list(own, now + LIST_FOR / 2 + timedelta(minutes=5))
    assert SIGNATORIES.revoked(own).read_bytes() != before
    assert SIGNATORIES.has_revoked(own, stolen)


def test_openssl_refuses_whom_it_refuses(own: Path) -> None:
    def said() -> str:
        trusted = ["-CAfile", SIGNATORIES.certificate(own), "-CRLfile", SIGNATORIES.revoked(own), "-crl_check"]
        done = subprocess.run(["openssl", "verify", *trusted, stolen], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    stolen = SIGNATORIES.current(own, HOLDER)
    assert said().endswith(": OK\n")
    SIGNATORIES.revoke(own, read(stolen))
    assert "certificate revoked" in said()


def test_only_what_an_authority_of_ours_signed_can_be_revoked(own: Path) -> None:
    stand_in.AUTHORITY.ensure(own)
    other = Issuer("other", SIGNATORIES.title)
    other.ensure(own)
    mine, strange = SIGNATORIES.current(own, HOLDER), other.current(own, "somebody")
    assert cli.signed_by(own, mine, cli.signing_certificate(mine)) == SIGNATORIES
    with pytest.raises(
        UserError, match="found a certificate of CN=QHS signatories; wanted one that QHS signatories or"
    ):
        cli.signed_by(own, strange, cli.signing_certificate(strange))
    (own / "empty.pem").write_text("")
    for path in (own / "empty.pem", own / "none.pem"):
        with pytest.raises(UserError, match="found no certificate"):
            cli.signing_certificate(path)
