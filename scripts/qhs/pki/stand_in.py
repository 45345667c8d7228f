"""The twin's stand-in for the Government Cipher Committee's authority: requests in, certificates out.

It does what an authority of the State does, and nothing vouches for it but this machine: `prod` knows no such name.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from qhs.pki import root
from qhs.pki.authority import Authority

NAME = "stand-in"
AUTHORITY = Authority(NAME, "QHS stand-in authority")
VALID_FOR = timedelta(days=1095)
USAGES = {
    "duty": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "time-stamp": ExtendedKeyUsageOID.TIME_STAMPING,
    "images": ExtendedKeyUsageOID.CODE_SIGNING,
}
"""By what a key is for, as its holders are known by."""


def ensure(own: Path) -> bytes:
    """Its certificate in PEM; made at first use."""
    AUTHORITY.ensure(own)
    return AUTHORITY.certificate(own).read_bytes()


def issue(own: Path, request: str, purpose: str, now: datetime | None = None) -> bytes:
    """The certificate for a request, in PEM: for documents (`duty`), for time-stamps or for images alone."""
    ensure(own)
    authority, signing = AUTHORITY.read(own), AUTHORITY.signing(own)
    asked = x509.load_pem_x509_csr(request.encode())
    if not asked.is_signature_valid:
        raise ValueError(f"{asked.subject.rfc4514_string()}: the request is not signed by its own key")
    now, duty = now or datetime.now(UTC), purpose == "duty"
    usage = x509.KeyUsage(True, duty, False, False, False, False, False, False, False)
    signed = (
        x509.CertificateBuilder()
        .subject_name(asked.subject)
        .issuer_name(authority.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - root.EARLIER)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([USAGES[purpose]]), critical=not duty)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(asked.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA384())
    )
    return signed.public_bytes(Encoding.PEM)
