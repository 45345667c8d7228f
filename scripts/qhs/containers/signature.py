"""Signatures of images as cosign has them (specs/SIGNATURE_SPEC.md of sigstore/cosign), and whose is believed.

What is signed is a small JSON text that names the image by its digest. It lies in the registry beside the image, under
the tag `sha256-….sig`, with the signature and its certificates as annotations; no transparency log is asked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from qhs.containers.artefact import CONFIG, MANIFEST, descriptor, sha256
from stacks.model.signing import IMAGES
from stacks.provider.signing.certificates import Chain, ChainError

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
TYPE = "cosign container image signature"
SIGNATURE = "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
CHAIN = "dev.sigstore.cosign/chain"
BILL = "sbom"
"""The optional claim that has the digest of the manifest of the image's bill of materials, so that one signature holds
for both. A design choice."""


class SignatureError(Exception):
    """What is wrong with a signature: what was found, and what was wanted."""


@dataclass(frozen=True)
class Signed:
    """A payload with its signature, the certificate of the key and those over it, in PEM."""

    payload: bytes
    signature: bytes
    certificate: str
    chain: str


@dataclass(frozen=True)
class Trust:
    """Whose signature is believed: of images, it lets one in."""

    anchor: str
    """The certificate of the authority that all must lead to, in PEM (C-SIG-01)."""
    subject: str
    """Common name, organisation and unit of the key's certificate."""
    revoked: Callable[[x509.Certificate], bool]
    purpose: str = IMAGES
    """What its certificate must be for."""

    def judge(self, signed: Signed, now: datetime | None = None) -> None:
        """Whether it is a signature of the key over its payload. Raises SignatureError."""
        leaf = self._believed(signed, now)
        key = leaf.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise SignatureError("found a certificate of a key that is not RSA; wanted one of RSA")
        try:
            key.verify(signed.signature, signed.payload, padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            raise SignatureError(
                "found a signature that is not of its certificate's key over its payload; wanted that"
            ) from None

    def _believed(self, signed: Signed, now: datetime | None) -> x509.Certificate:
        try:
            chain = Chain.read(signed.certificate + _between(signed.chain, self.anchor), self.anchor)
            chain.judge(self.purpose, now)
        except ChainError as error:
            raise SignatureError(str(error)) from None
        if (found := _subject(chain.leaf)) != self.subject:
            raise SignatureError(f"found a signature of {found!r}; wanted one of {self.subject!r}")
        if self.revoked(chain.leaf):
            raise SignatureError("found a certificate that its authority has revoked; wanted one that it has not")
        return chain.leaf


def payload(name: str, digest: str, bill: str) -> bytes:
    """What is signed for an image: `bill` is the digest of the manifest of its bill of materials.

    The image's name is without any host: the same bytes lie in the registry of each centre, and as the key is the same
    at both and RSASSA-PKCS1-v1_5 draws no lots, so is the signature. cosign reads no name out of it. A design choice.
    """
    critical = {"identity": {"docker-reference": name}, "image": {"docker-manifest-digest": digest}, "type": TYPE}
    return json.dumps({"critical": critical, "optional": {BILL: bill}}, separators=(",", ":")).encode()


def tag(digest: str) -> str:
    """Of the signature of an image."""
    return f"{digest.replace(':', '-')}.sig"


def config(signed: Signed) -> bytes:
    """What the manifest has for an image's configuration: readers of images want one that lists its layers."""
    layers = {"type": "layers", "diff_ids": [sha256(signed.payload)]}
    return json.dumps({"architecture": "", "os": "", "config": {}, "rootfs": layers}).encode()


def manifest(signed: Signed) -> bytes:
    """What carries the signature."""
    annotations = {
        SIGNATURE: base64.b64encode(signed.signature).decode(),
        CERTIFICATE: signed.certificate,
        CHAIN: signed.chain,
    }
    layer = {**descriptor(PAYLOAD, signed.payload), "annotations": annotations}
    return json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, config(signed)), "layers": [layer]}
    ).encode()


def read(found: bytes, blob: Callable[[str], bytes]) -> Signed:
    """What a manifest carries; `blob` gives what has a digest. Raises SignatureError."""
    try:
        (layer,) = json.loads(found)["layers"]
        said = layer["annotations"]
        signature = base64.b64decode(said[SIGNATURE], validate=True)
        return Signed(blob(layer["digest"]), signature, str(said[CERTIFICATE]), str(said.get(CHAIN, "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SignatureError("found no manifest with one signature and its certificate; wanted that") from None


def claimed(signed: Signed, digest: str, bill: str) -> None:
    """Whether the payload is for this image and this bill of materials. Raises SignatureError."""
    try:
        found = json.loads(signed.payload)
        image, kind, listed = found["critical"]["image"], found["critical"]["type"], found["optional"][BILL]
        named = image["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError):
        raise SignatureError("found a payload that names no image and bill of materials; wanted both") from None
    for what, value, wanted in (("kind", kind, TYPE), ("image", named, digest), ("bill of materials", listed, bill)):
        if value != wanted:
            raise SignatureError(f"found a signature for the {what} {value}; wanted {wanted}")


def _between(chain: str, anchor: str) -> str:
    """The certificates of a chain but the authority's own, which is believed from elsewhere or not at all."""
    try:
        top = x509.load_pem_x509_certificate(anchor.encode())
        found = x509.load_pem_x509_certificates(chain.encode()) if chain else []
    except ValueError as error:
        raise ChainError(f"found no certificates: {error}; wanted them in PEM") from None
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in found if one != top)


def _subject(leaf: x509.Certificate) -> str:
    parts: list[Any] = [
        one.value
        for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)
        for one in leaf.subject.get_attributes_for_oid(kind)
    ]
    return "/".join(map(str, parts))
