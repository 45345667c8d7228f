"""Who sets up the secret stores: certificates of an authority that signs for nobody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qhs import whole
from qhs.pki import root

TITLE = "QHS provisioners"
VALID_FOR = timedelta(hours=12)
LEAST = timedelta(hours=1)
"""What must be left of a certificate for another run."""


def certificate(own: Path) -> Path:
    """Of the authority; the secret stores believe it."""
    return own / "provisioners.crt"


def ensure(own: Path) -> None:
    """Made at first use; the certificate comes last."""
    if not certificate(own).is_file():
        key, signed = root.made(title=TITLE, path_length=0)
        whole.write(_key(own), key, 0o600)
        whole.write(certificate(own), signed)


def current(own: Path, now: datetime | None = None) -> Path:
    """A file with a key and a certificate for it, good for an hour at least."""
    path, now = own / "provisioner.pem", now or datetime.now(UTC)
    if not path.is_file() or _ends(path) < now + LEAST:
        whole.write(path, _signed(own, now), 0o600)
    return path


def _signed(own: Path, now: datetime) -> bytes:
    authority = x509.load_pem_x509_certificate(certificate(own).read_bytes())
    signing = cast(ec.EllipticCurvePrivateKey, load_pem_private_key(_key(own).read_bytes(), None))
    private = ec.generate_private_key(ec.SECP256R1())
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provisioner")]))
        .issuer_name(authority.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - root.EARLIER)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA384())
    )
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key + signed.public_bytes(Encoding.PEM)


def _ends(path: Path) -> datetime:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def _key(own: Path) -> Path:
    return own / "provisioners.key"
