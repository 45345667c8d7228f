"""The kind `qhs:signing:Certificate` refuses what no key of ours may have, before anything is connected to."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qhs.pki import stand_in
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.signing.certificates import Chain, ChainError, algorithm_of
from stacks.provider.signing.installed import CertificateHandler
from stacks.provider.signing.keys import KeyHandler
from stacks.provider.signing.requests import RequestHandler
from stacks.provider.signing.tokens import TokenHandler

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
CA_KEY = ec.generate_private_key(ec.SECP256R1())
USAGE = {
    name: name in ("digital_signature", "content_commitment")
    for name in (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )
}  # fmt: skip
WHERE = {
    "site": "qhdc", "devices": ["qhdc-hsm1", "qhdc-hsm2"], "token": "qlvb", "label": "qlvb",
    "owner": "vpqh-hanh-chinh", "level": 3, "serves": ["S-050"],
}  # fmt: skip


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    subject: str = "leaf",
    issuer: str = "authority",
    key: Any = None,
    by: Any = CA_KEY,
    *,
    begins: datetime = NOW - DAY,
    ends: datetime = NOW + DAY,
    ca: bool = False,
    usage: dict[str, bool] | None = None,
    extended: list[x509.ObjectIdentifier] | None = None,
    critical: bool = False,
) -> str:
    key = key or ec.generate_private_key(ec.SECP256R1())
    built = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{**USAGE, **(usage or {})}), critical=True)
    )
    if extended:
        built = built.add_extension(x509.ExtendedKeyUsage(extended), critical=critical)
    return built.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


ANCHOR = certificate("authority", "authority", CA_KEY, ca=True)
STAMPS, MAIL = ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.EMAIL_PROTECTION
CODE = ExtendedKeyUsageOID.CODE_SIGNING
WEAK = (Path(__file__).parents[1] / "policies/certificates").resolve()
SMALL = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is to be refused


def check(chain: str, anchor: str = ANCHOR, purpose: str = "duty") -> dict[str, str]:
    given = {**WHERE, "purpose": purpose, "authority": "stand-in", "anchor": anchor, "chain": chain}
    return CertificateHandler(Settings()).check(given).failures


@pytest.mark.parametrize(
    ("purpose", "chain"),
    [
        ("duty", certificate()),
        ("duty", certificate(extended=[MAIL])),
        ("time-stamp", certificate(extended=[STAMPS], critical=True)),
        ("images", certificate(extended=[CODE])),
    ],
    ids=["plain", "mail", "stamps", "images"],
)
def test_what_a_key_may_have_is_taken(purpose: str, chain: str) -> None:
    assert check(chain, purpose=purpose) == {}


@pytest.mark.parametrize(
    ("chain", "purpose", "said"),
    [
        (certificate(ends=NOW - timedelta(hours=1)), "duty", "within"),
        (certificate(begins=NOW + timedelta(hours=1)), "duty", "within"),
        (certificate(by=ec.generate_private_key(ec.SECP256R1())), "duty", "did not sign"),
        (certificate(issuer="another"), "duty", "did not sign"),
        (certificate(key=SMALL), "duty", "RSA with 1024 bits"),
        (certificate(key=ec.generate_private_key(ec.SECP192R1())), "duty", "the curve secp192r1"),
        (certificate(usage=dict.fromkeys(USAGE, False)), "duty", "a key usage without signatures"),
        (certificate(usage={"key_cert_sign": True}, ca=True), "duty", "a key usage of an authority"),
        (certificate(extended=[STAMPS], critical=True), "duty", "for time-stamps; wanted one for documents"),
        (certificate(extended=[CODE, STAMPS]), "images", "for time-stamps; wanted one for images"),
        (certificate(extended=[MAIL]), "images", "no extended key usage codeSigning"),
        (certificate(), "images", "no extended key usage codeSigning"),
        (certificate(extended=[MAIL, CODE]), "duty", "a certificate for images; wanted one for documents"),
        (certificate(), "time-stamp", "timeStamping alone and critical"),
        (certificate(extended=[STAMPS]), "time-stamp", "timeStamping alone and critical"),
        (certificate(extended=[STAMPS, MAIL], critical=True), "time-stamp", "timeStamping alone and critical"),
        ("no certificate", "duty", "found no certificates"),
    ],
    ids=[
        "expired", "not-yet", "forged", "foreign", "rsa-1024", "p-192", "no-signatures", "authority", "stamps",
        "stamps-for-images", "mail-for-images", "plain-for-images", "images", "no-stamps", "not-critical",
        "more-than-stamps", "garbage",
    ],
)  # fmt: skip
def test_what_it_may_not_have_is_refused_with_the_reason(chain: str, purpose: str, said: str) -> None:
    (text,) = check(chain, purpose=purpose).values()
    assert said in text
    assert "wanted" in text


def test_sha_1_is_refused_anywhere_in_the_chain() -> None:
    weak, anchor = ((WEAK / file).read_text() for file in ("weak.pem", "authority.pem"))
    (text,) = check(weak, anchor).values()
    assert "signed with sha1; wanted SHA-256 or better" in text


def test_one_that_is_no_authority_signs_nothing() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    between = certificate("between", key=key)
    (text,) = check(certificate(issuer="between", by=key) + between).values()
    assert "which is no authority" in text


def test_the_chain_of_the_stand_in_is_what_a_key_may_have(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 3072)
    asked = x509.CertificateSigningRequestBuilder().subject_name(name("Văn phòng Quốc hội")).sign(key, hashes.SHA256())
    request = asked.public_bytes(Encoding.PEM).decode()
    anchor = stand_in.ensure(tmp_path).decode()
    for purpose in ("duty", "time-stamp", "images"):
        assert check(stand_in.issue(tmp_path, request, purpose).decode(), anchor, purpose) == {}
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert algorithm_of(public) == "rsa-3072"
    assert Chain.read(stand_in.issue(tmp_path, request, "duty").decode(), anchor).public == public


def test_the_stand_in_signs_no_request_that_another_key_signed(tmp_path: Path) -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    asked = x509.CertificateSigningRequestBuilder().subject_name(name("a")).sign(key, hashes.SHA256())
    old, new = (one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for one in (key, other))
    forged = x509.load_der_x509_csr(asked.public_bytes(Encoding.DER).replace(old, new))
    with pytest.raises(ValueError, match="not signed by its own key"):
        stand_in.issue(tmp_path, forged.public_bytes(Encoding.PEM).decode(), "duty")


@pytest.mark.parametrize(
    ("handler", "change", "path"),
    [
        (TokenHandler, {"token": "unseal"}, ""),
        (TokenHandler, {"token": "rehearsal-qlvb"}, ""),
        (TokenHandler, {"token": "Qlvb"}, "token"),
        (TokenHandler, {"token": "q" * 33}, "token"),
        (TokenHandler, {"devices": []}, "devices"),
        (KeyHandler, {"algorithm": "rsa-1024"}, "algorithm"),
        (KeyHandler, {"use": "decrypt"}, "use"),
        (KeyHandler, {"label": "kek"}, ""),
        (TokenHandler, {"keys": ["a b"]}, "keys.0"),
        (RequestHandler, {"subject": "a/b/c/d"}, "subject"),
        (RequestHandler, {"subject": "a=b"}, "subject"),
        (RequestHandler, {"subject": "x" * 65}, "subject"),
    ],
)
def test_bad_input_is_refused_with_its_place(handler: Any, change: dict[str, Any], path: str) -> None:
    shared = {"elsewhere": {"ndc": ["ndc-hsm1"]}, "founds": True}
    own = {
        TokenHandler: {name: value for name, value in WHERE.items() if name != "label"} | shared | {"keys": ["qlvb"]},
        KeyHandler: WHERE | shared | {"algorithm": "rsa-3072", "use": "sign"},
        RequestHandler: WHERE | {"subject": "Văn phòng Quốc hội"},
    }[handler]
    assert handler(Settings()).check(own).failures == {}
    assert list(handler(Settings()).check(own | change).failures) == [path]


def test_no_key_is_taken_away_without_an_approval(tmp_path: Path) -> None:
    access = tmp_path / "access.json"
    approvals = {"folder": str(tmp_path / "approvals"), "signers": str(tmp_path / "approvers"), "quorum": 2}
    files = {"root": str(tmp_path / "root"), "provisioner": str(tmp_path / "provisioner")}
    access.write_text(
        json.dumps({**files, "approvals": approvals, "stores": {}, "objects": {}, "databases": {}, "clusters": {}})
    )
    with pytest.raises(ProviderError, match=r"delete of urn:x: found none in .*; wanted an approval that names it"):
        KeyHandler(Settings(trust_access=access)).remove("urn:x", WHERE)


def test_no_token_is_taken_away_from_afar() -> None:
    with pytest.raises(ProviderError, match=r"qhdc/qlvb.*: found a token; wanted it to be kept"):
        TokenHandler(Settings()).remove("urn:x", WHERE)


def test_a_chain_is_judged_as_of_a_moment() -> None:
    chain = Chain.read(certificate(), ANCHOR)
    chain.judge("duty", NOW)
    with pytest.raises(ChainError, match="within"):
        chain.judge("duty", NOW + 2 * DAY)
