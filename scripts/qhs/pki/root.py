"""The root: it signs the authorities of the sites, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from qhs.errors import UserError
from stacks.model.certificates import title

ROOT_FOR = timedelta(days=3652)
AUTHORITY_FOR = timedelta(days=365)
EARLIER = timedelta(minutes=5)  # for clocks that are behind
TITLE = "QHS bootstrap root"


def key(own: Path) -> Path:
    return own / "root.key"


def certificate(own: Path) -> Path:
    return own / "root.crt"


def made(now: datetime | None = None, title: str = TITLE, *, path_length: int = 1) -> tuple[bytes, bytes]:
    """A new root, with as many authorities below it: key and certificate, in PEM."""
    private = ec.generate_private_key(ec.SECP384R1())
    now = now or datetime.now(UTC)
    name = _name(title)
    signed = _authority(name, name, private.public_key(), now, now + ROOT_FOR, path_length=path_length)
    signed = signed.add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, signed.sign(private, hashes.SHA384()).public_bytes(Encoding.PEM)


def sign_authority(own: Path, csr: str, site: str, networks: Sequence[str], now: datetime | None = None) -> str:
    """The certificate of a site's authority: for machines with addresses in these networks, not for authorities.

    Raises UserError where the request is not that site's.
    """
    now = now or datetime.now(UTC)
    private = cast(ec.EllipticCurvePrivateKey, load_pem_private_key(key(own).read_bytes(), None))
    root = x509.load_pem_x509_certificate(certificate(own).read_bytes())
    asked = x509.load_pem_x509_csr(csr.encode())
    if not asked.is_signature_valid or asked.subject != _name(title(site)) or list(asked.extensions):
        found = asked.subject.rfc4514_string()
        raise UserError(
            f"authority of {site}: found a request of {found} with {len(list(asked.extensions))} extensions; "
            f"wanted CN={title(site)}, signed by its own key and without any",
            "see what the infrastructure machine of the site has become",
        )
    public = asked.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise UserError(f"authority of {site}: found another kind of key, wanted ECDSA", "make its key anew")
    until = min(now + AUTHORITY_FOR, root.not_valid_after_utc)
    permitted = [x509.IPAddress(ip_network(one)) for one in networks]
    signed = (
        _authority(asked.subject, root.subject, public, now, until, path_length=0)
        .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), critical=False)
        .sign(private, hashes.SHA384())
    )
    return signed.public_bytes(Encoding.PEM).decode()


def _authority(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
    *,
    path_length: int,
) -> x509.CertificateBuilder:
    """What both kinds of authorities have: they sign certificates, as many levels below as `path_length`."""
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
