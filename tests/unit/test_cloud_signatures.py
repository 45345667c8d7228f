"""What applications have signed, against the keys that they have it signed by."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from qhs.cloud import signatures
from qhs.cloud.asking import TRIES, Said
from qhs.cloud.signatures import SIGNED, Wanted
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.cloud import places
from stacks.model.signing import key_for, signatories

ESTATE = load("twin")
PLACES = {one.name: one for one in places(ESTATE, "qhdc")}
TENANT = "qlvb"
KEY, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
WANTED = Wanted(key_for(ESTATE, TENANT), bytes(range(32)), [])


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]), datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, KEY.public_key(), 1, now, now + timedelta(1)).sign(KEY, hashes.SHA256())
    (tmp_path / f"{WANTED.key}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    return tmp_path


def by(key: rsa.RSAPrivateKey, digest: bytes = WANTED.digest) -> dict[str, str]:
    made = key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
    return {"signature": base64.b64encode(made).decode()}


def found(answer: object, certificates: Path) -> tuple[str, bool]:
    said = {"qhdc": Said(pods=[], answers={} if answer is None else {TENANT: answer}, silent={})}
    (check,) = signatures.judged(ESTATE, {TENANT: WANTED}, said, certificates)
    assert (check.site, check.tenant, check.what, check.of) == ("qhdc", TENANT, "signatures", WANTED.key)
    return check.found, check.as_wanted


def test_a_signature_of_its_key_over_what_it_asked_for_is_as_wanted(certificates: Path) -> None:
    assert found(by(KEY), certificates) == (SIGNED, True)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: by(OTHER), "not of its key"),
        (lambda: by(KEY, bytes(32)), "not of its key"),
        (lambda: {"refused": "replay"}, "replay"),
        (lambda: None, "no answer"),
    ],
)
def test_anything_else_is_told(certificates: Path, answer: Callable[[], object], says: str) -> None:
    said, as_wanted = found(answer(), certificates)
    assert says in said and not as_wanted


def test_who_signs_is_asked_and_nobody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its own key where it has one, else by a person's; a release is good once, so that each try has its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    wanted = signatures.released(ESTATE, Twin("released"))
    signing = {name: one.signing for name, one in ESTATE.catalogue.tenants.items() if one.signing != "none"}
    assert {name: one.key for name, one in wanted.items()} == {
        name: signatories(ESTATE)[0] if how == "user" else name for name, how in signing.items()
    }
    for one in wanted.values():
        releases = [jwt.decode(each["release"], options={"verify_signature": False}) for each in one.requests]
        assert len({release["jti"] for release in releases}) == TRIES
        assert {release["digest"] for release in releases} == {one.digest.hex()}


def test_who_has_no_part_at_a_site_is_not_judged_there(certificates: Path) -> None:
    away = next(name for name, one in PLACES.items() if not one.copies)
    said = {"qhdc": Said(pods=[], answers={}, silent={})}
    assert not list(signatures.judged(ESTATE, {away: WANTED}, said, certificates))
