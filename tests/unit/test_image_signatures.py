"""Signatures of images: as cosign has them, believed of one key alone, and asked of a signer with patience."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from qhs.containers import notary, signature
from qhs.containers.artefact import sha256
from qhs.containers.signature import SignatureError, Signed
from qhs.errors import UserError
from qhs.pki import stand_in
from qhs.signing.client import SigningError
from stacks.model import Estate, signing
from stacks.model.signing import IMAGES
from tests.unit.image_notary import SUBJECT, Office

DIGEST, BILL = sha256(b"image"), sha256(b"bill")
PAYLOAD = signature.payload("canary", DIGEST, BILL)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """Of an authority of the same name, and a key of the same subject."""
    return Office(tmp_path_factory.mktemp("other"))


def test_the_manifest_is_what_cosign_reads(office: Office) -> None:
    """Every name in it is of specs/SIGNATURE_SPEC.md of sigstore/cosign."""
    signed = office.sign(PAYLOAD)
    found = json.loads(signature.manifest(signed))
    (layer,) = found["layers"]
    assert found["schemaVersion"] == 2
    assert found["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert found["config"]["digest"] == sha256(signature.config(signed))
    assert (layer["mediaType"], layer["digest"], layer["size"]) == (
        "application/vnd.dev.cosign.simplesigning.v1+json",
        sha256(PAYLOAD),
        len(PAYLOAD),
    )
    said = layer["annotations"]
    assert said["dev.sigstore.cosign/certificate"].startswith("-----BEGIN CERTIFICATE-----")
    key = x509.load_pem_x509_certificate(said["dev.sigstore.cosign/certificate"].encode()).public_key()
    raw = base64.b64decode(said["dev.cosignproject.cosign/signature"])
    key.verify(raw, PAYLOAD, padding.PKCS1v15(), SHA256())  # type: ignore[union-attr, call-arg, arg-type] # it is RSA
    assert said["dev.sigstore.cosign/chain"] == office.anchor
    assert json.loads(PAYLOAD)["critical"] == {
        "identity": {"docker-reference": "canary"},
        "image": {"docker-manifest-digest": DIGEST},
        "type": "cosign container image signature",
    }
    assert signature.tag(DIGEST) == f"sha256-{DIGEST.removeprefix('sha256:')}.sig"


def test_what_is_written_is_read_back_and_believed(office: Office) -> None:
    signed = office.sign(PAYLOAD)
    found = signature.read(signature.manifest(signed), {sha256(PAYLOAD): PAYLOAD}.__getitem__)
    assert found == signed
    office.trust().judge(found)
    signature.claimed(found, DIGEST, BILL)


def _of(**changed: object) -> Callable[[Office, Office, Path], Signed]:
    return lambda office, *_: replace(office.sign(PAYLOAD), **changed)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (_of(signature=b"none"), "not of its certificate's key over its payload"),
        (_of(payload=PAYLOAD + b" "), "not of its certificate's key over its payload"),
        (
            lambda office, other, _: replace(office.sign(PAYLOAD), signature=other.sign(PAYLOAD).signature),
            "not of its certificate's key over its payload",
        ),
        (lambda _, other, __: other.sign(PAYLOAD), "did not sign"),
        (lambda office, _, __: replace(office.sign(PAYLOAD), certificate="none"), "found no certificates"),
        (lambda office, _, __: replace(office.sign(PAYLOAD), chain="none"), "found no certificates"),
        (
            lambda office, _, __: Office(office.own, subject="nguoi-ky-01/Văn phòng Quốc hội").sign(PAYLOAD),
            f"found a signature of 'nguoi-ky-01/Văn phòng Quốc hội'; wanted one of '{SUBJECT}'",
        ),
        (lambda office, _, __: Office(office.own, purpose="duty").sign(PAYLOAD), "no extended key usage codeSigning"),
    ],
    ids=["signature", "payload", "another key", "another authority", "no certificate", "no chain", "subject", "usage"],
)
def test_no_other_signature_is_believed(
    office: Office, other: Office, tmp_path: Path, made: Callable[[Office, Office, Path], Signed], said: str
) -> None:
    with pytest.raises(SignatureError, match=said) as error:
        office.trust().judge(made(office, other, tmp_path))
    assert "wanted" in str(error.value)


def test_a_certificate_that_is_over_or_revoked_lets_nothing_in(office: Office) -> None:
    signed = office.sign(PAYLOAD)
    with pytest.raises(SignatureError, match="within"):
        office.trust().judge(signed, datetime.now(UTC) + stand_in.VALID_FOR + timedelta(days=1))
    with pytest.raises(SignatureError, match="its authority has revoked"):
        office.trust(lambda one: one == x509.load_pem_x509_certificate(signed.certificate.encode())).judge(signed)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (signature.payload("canary", sha256(b"x"), BILL), f"the image {sha256(b'x')}; wanted {DIGEST}"),
        (signature.payload("canary", DIGEST, sha256(b"x")), f"bill of materials {sha256(b'x')}; wanted {BILL}"),
        (PAYLOAD.replace(b"cosign container", b"other"), "for the kind other image signature; wanted cosign container"),
        (b"{}", "names no image"),
        (b"[]", "names no image"),
        (b"\xff", "names no image"),
    ],
    ids=["image", "bill", "kind", "empty", "list", "no text"],
)
def test_a_signature_for_something_else_is_none(office: Office, payload: bytes, said: str) -> None:
    with pytest.raises(SignatureError, match=said):
        signature.claimed(office.sign(payload), DIGEST, BILL)


@pytest.mark.parametrize("broken", ["layers", "annotations", "signature", "garbage", "two"])
def test_a_manifest_without_one_signature_is_refused(office: Office, broken: str) -> None:
    content = json.loads(signature.manifest(office.sign(PAYLOAD)))
    layer = content["layers"][0]
    match broken:
        case "layers":
            content = []
        case "annotations":
            del layer["annotations"]
        case "signature":
            layer["annotations"][signature.SIGNATURE] = "?"
        case "two":
            content["layers"] *= 2
    with pytest.raises(SignatureError, match="one signature and its certificate"):
        signature.read(b"?" if broken == "garbage" else json.dumps(content).encode(), lambda _: PAYLOAD)


def test_the_key_of_images_is_of_whoever_owns_the_registries(estate: Estate) -> None:
    (token,) = (one for one in signing.tokens(estate) if one.label == IMAGES)
    registry = estate.catalogue.services["registry"]
    assert (token.owner, token.level) == (registry.owner, registry.level)
    assert "C-K8S-08" in token.serves
    assert [(key.label, key.purpose) for key in token.keys] == [(IMAGES, "images")]


def test_a_signer_that_learns_of_a_key_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notary, "AGAIN", 0)
    answers = iter([SigningError("no-certificate", "none yet"), SigningError("no-pin", "none yet"), b"signature"])

    def ask() -> bytes:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert notary.patiently(ask, "the signer of qhdc") == b"signature"


@pytest.mark.parametrize(("code", "patience"), [("other-signatory", 90), ("no-certificate", 0)], ids=["no", "too long"])
def test_a_signer_that_says_no_is_not_asked_again(code: str, patience: float) -> None:
    asked = []

    def ask() -> bytes:
        asked.append(code)
        raise SigningError(code, "no")

    with pytest.raises(UserError, match=f"the signer of qhdc: found no signature of the key images: {code}: no"):
        notary.patiently(ask, "the signer of qhdc", patience)
    assert asked == [code]
