"""Credentials of hours, from an authority that signs for one kind of holder and nobody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qhs import whole
from qhs.pki import root
from qhs.pki.authority import Authority

VALID_FOR = timedelta(hours=12)
LEAST = timedelta(hours=1)
"""What must be left of a certificate for another run."""


class Issuer(Authority):
    """An authority that makes the keys of its holders too."""

    def current(self, own: Path, holder: str, now: datetime | None = None) -> Path:
        """A file with a key and a certificate for it in the holder's name, good for an hour at least."""
        path, now = own / f"{holder}.pem", now or datetime.now(UTC)
        if not path.is_file() or not self._good(own, read(path), now):
            whole.write(path, self._signed(own, holder, now), 0o600)
        return path

    def _signed(self, own: Path, holder: str, now: datetime) -> bytes:
        authority, signing = self.read(own), self.signing(own)
        private = ec.generate_private_key(ec.SECP256R1())
        signed = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, holder)]))
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

    def _good(self, own: Path, credential: x509.Certificate, now: datetime) -> bool:
        return credential.not_valid_after_utc >= now + LEAST and not self.has_revoked(own, credential)


PROVISIONERS = Issuer("provisioners", "QHS provisioners")
"""Of whoever sets up the secret stores."""
SIGNATORIES = Issuer("signatories", "QHS signatories")
"""Of whoever releases signatures, until an identity provider does."""
PROVISIONER = "provisioner"


def read(path: Path) -> x509.Certificate:
    """What is in a file, whatever else is."""
    return x509.load_pem_x509_certificate(path.read_bytes())
