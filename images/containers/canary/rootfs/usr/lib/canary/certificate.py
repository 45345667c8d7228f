"""A certificate of the application's own: python3 certificate.py FILE has it signed, with its key before it."""

import os
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from given import settings
from store import Store


def pem() -> bytes:
    """A new key, its certificate and what signed that. Raises RefusedError."""
    key, name = ec.generate_private_key(ec.SECP256R1()), settings()["certificate"]["name"]
    request = x509.CertificateSigningRequestBuilder()
    request = request.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    request = request.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    text = request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + Store().signed(text).encode()


def main(path: str) -> None:
    """Whole or not at all, for this user alone."""
    target = Path(path)
    fresh = target.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem())
    fresh.replace(target)


if __name__ == "__main__":
    main(sys.argv[1])
