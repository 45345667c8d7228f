"""What releases a signature: bound to one digest, one key, one credential, some seconds, and good once (T-E11)."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from refusing import NoSignatureError
from releasing import LATE, LONGEST, Releases

from qhs.pki.credentials import SIGNATORIES, Issuer
from qhs.signing.client import Credential
from tests.unit.test_signer_vouching import believing

DIGEST = bytes(range(32))
ASKED = {"key": "nguoi-ky-01", "digest": DIGEST.hex(), "algorithm": "sha256", "form": "pades"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    SIGNATORIES.ensure(folder)
    SIGNATORIES.ensure_list(folder)
    return folder


@pytest.fixture
def releases(own: Path, tmp_path: Path) -> Releases:
    return Releases(believing(own), tmp_path / "used")


@pytest.fixture
def credential(own: Path) -> Credential:
    return Credential.read(SIGNATORIES.current(own, "nguoi-ky-01"))


def released(credential: Credential, *, seconds: float = 60, **change: str) -> str:
    given = ASKED | change
    return credential.release(given["key"], bytes.fromhex(given["digest"]), given["algorithm"], given["form"], seconds)


def refused(releases: Releases, statement: str, **asked: str) -> str:
    with pytest.raises(NoSignatureError) as error, releases.used(statement, ASKED | asked):
        raise AssertionError("it was taken")
    assert error.value.status == 403
    return error.value.code


def test_who_has_the_credential_of_a_key_releases_it(releases: Releases, credential: Credential) -> None:
    with releases.used(released(credential), ASKED) as by:
        assert by == "nguoi-ky-01"


def test_it_is_good_once(releases: Releases, credential: Credential) -> None:
    statement = released(credential)
    with releases.used(statement, ASKED):
        assert refused(releases, statement) == "replay"
    assert refused(releases, statement) == "replay"


def test_it_is_good_again_where_nothing_was_signed(releases: Releases, credential: Credential) -> None:
    statement = released(credential)
    with pytest.raises(NoSignatureError, match="the device is away"), releases.used(statement, ASKED):
        raise NoSignatureError(503, "device", "the device is away")
    with releases.used(statement, ASKED):
        pass
    assert refused(releases, statement) == "replay"


def test_it_is_good_once_also_where_the_service_starts_anew(own: Path, credential: Credential, tmp_path: Path) -> None:
    used, other, kept = released(credential), released(credential), tmp_path / "used"
    with Releases(believing(own), kept).used(used, ASKED):
        pass
    kept.write_text(kept.read_text() + kept.read_text()[:12])  # it died while it wrote the next
    for _ in range(2):
        assert refused(Releases(believing(own), kept), used) == "replay"
        with Releases(believing(own), kept).used(other, ASKED):
            other = released(credential)


def test_it_is_forgotten_no_sooner_than_it_is_too_old(own: Path, credential: Credential, tmp_path: Path) -> None:
    began = time.time()
    now = [began]
    releases = Releases(believing(own), tmp_path / "used", lambda: now[0])
    statement = released(credential, seconds=30)
    with releases.used(statement, ASKED):
        pass
    for later, code in ((29, "replay"), (30 + LATE - 1, "replay"), (30 + LATE + 1, "expired")):
        now[0] = began + later
        assert refused(releases, statement) == code


def test_what_is_too_old_is_not_remembered(own: Path, credential: Credential, tmp_path: Path) -> None:
    now, kept = [time.time()], tmp_path / "used"
    releases = Releases(believing(own), kept, lambda: now[0])
    for _ in range(3):
        with releases.used(released(credential, seconds=30), ASKED):
            pass
    now[0] += 30 + LATE + 1
    with releases.used(released(credential, seconds=60), ASKED):
        assert len(releases._used) == len(kept.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "asked",
    [{"digest": "00" * 32}, {"algorithm": "sha384"}, {"form": "raw"}, {"key": "nguoi-ky-02"}],
    ids=["digest", "algorithm", "form", "key"],
)
def test_it_releases_nothing_else(releases: Releases, credential: Credential, asked: dict[str, str]) -> None:
    assert refused(releases, released(credential), **asked) == "other-release"


def test_nobody_releases_the_key_of_another(releases: Releases, credential: Credential) -> None:
    statement = released(credential, key="nguoi-ky-02")
    assert refused(releases, statement, key="nguoi-ky-02") == "other-signatory"


@pytest.mark.parametrize("seconds", [-LATE - 1, LONGEST + 2 * LATE])
def test_it_is_good_neither_too_late_nor_too_long(releases: Releases, credential: Credential, seconds: float) -> None:
    assert refused(releases, released(credential, seconds=seconds)) == "expired"


def test_a_credential_of_another_authority_is_not_believed(releases: Releases, tmp_path: Path) -> None:
    another = Issuer("another", "QHS signatories")
    another.ensure(tmp_path)
    stranger = Credential.read(another.current(tmp_path, "nguoi-ky-01"))
    assert refused(releases, released(stranger)) == "credential-unknown"


def test_a_credential_that_has_ended_is_not_believed(releases: Releases, tmp_path: Path, own: Path) -> None:
    for file in (SIGNATORIES.certificate(own), own / "signatories.key"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    old = Credential.read(SIGNATORIES.current(tmp_path, "nguoi-ky-01", datetime.now(UTC) - timedelta(days=1)))
    assert refused(releases, released(old)) == "credential-expired"


def test_a_credential_that_was_revoked_releases_nothing(own: Path, tmp_path: Path) -> None:
    stolen = Credential.read(SIGNATORIES.current(own, "nguoi-ky-09"))
    SIGNATORIES.revoke(own, stolen.certificate)
    assert (
        refused(Releases(believing(own), tmp_path / "used"), released(stolen, key="nguoi-ky-09"))
        == "credential-revoked"
    )


def by_hand(credential: Credential, by: Any, algorithm: str, **claims: Any) -> str:
    """A statement of the credential's name that another key signed, or that lacks something."""
    moment = {"exp": time.time() + 60, "jti": "1"}
    given = {name: value for name, value in {**ASKED, **moment, **claims}.items() if value is not None}
    der = base64.b64encode(credential.certificate.public_bytes(Encoding.DER)).decode()
    return jwt.encode(given, by, algorithm=algorithm, headers={"x5c": [der]})


@pytest.mark.parametrize("missing", ["exp", "jti", "digest", "key"])
def test_what_is_missing_is_missed(releases: Releases, credential: Credential, missing: str) -> None:
    assert refused(releases, by_hand(credential, credential.key, "ES256", **{missing: None})) == "not-released"


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        ("a secret of the length that is wanted", "HS256"),
        (None, "none"),
        (rsa.generate_private_key(65537, 2048), "RS256"),
    ],
    ids=["another-key", "hmac", "none", "rsa"],
)
def test_only_the_credentials_own_key_counts(
    releases: Releases, credential: Credential, key: Any, algorithm: str
) -> None:
    assert refused(releases, by_hand(credential, key, algorithm)) == "not-released"


@pytest.mark.parametrize(
    "text", ["", "a.b.c", "é", f"{base64.urlsafe_b64encode(json.dumps({'alg': 'ES256'}).encode()).decode()}.e30.e30"]
)
def test_what_is_no_statement_is_refused(releases: Releases, text: str) -> None:
    assert refused(releases, text) == "credential-unknown"
