"""Notaries with keys and certificates of their own, as a site's signer and the stand-in authority would give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from qhs.containers.notary import Notary
from qhs.containers.signature import Signed, Trust
from qhs.pki import stand_in

SUBJECT = "Kho ảnh/Văn phòng Quốc hội"


@dataclass
class Office:
    """An authority in a folder, and a key that it has certified."""

    own: Path
    subject: str = SUBJECT
    purpose: str = "images"
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 3072))
    asked: int = 0
    """How often it was asked to sign."""

    def __post_init__(self) -> None:
        self.own.mkdir(parents=True, exist_ok=True)
        self.anchor = stand_in.ensure(self.own).decode()
        name = zip((NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME), self.subject.split("/"), strict=True)
        asked = x509.CertificateSigningRequestBuilder().subject_name(
            x509.Name([x509.NameAttribute(kind, text) for kind, text in name])
        )
        pem = asked.sign(self.key, SHA256()).public_bytes(Encoding.PEM).decode()
        self.certificate = stand_in.issue(self.own, pem, self.purpose).decode()

    def sign(self, payload: bytes) -> Signed:
        self.asked += 1
        return Signed(payload, self.key.sign(payload, padding.PKCS1v15(), SHA256()), self.certificate, self.anchor)

    def trust(self, revoked: Callable[[x509.Certificate], bool] = lambda _: False, subject: str = SUBJECT) -> Trust:
        """In itself."""
        return Trust(self.anchor, subject, revoked, self.purpose)

    def notary(self) -> Notary:
        return Notary(self.trust(), self.sign)
