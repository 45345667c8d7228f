"""Certificates of signing keys: whether they are what a key's purpose asks for. No network, no Pulumi."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID

STRONG = (SHA256, SHA384, SHA512)
LEAST_BITS = 3072
"""Of RSA, for signatures that are looked at after 2030 (SP 800-57)."""
CURVES = ("secp256r1", "secp384r1")
KINDS = {"duty": "documents", "images": "images"}


class ChainError(Exception):
    """What is wrong with a certificate, and what was wanted."""


@dataclass(frozen=True)
class Chain:
    """A certificate, those over it, and the authority that all of it must lead to."""

    certificates: tuple[x509.Certificate, ...]
    anchor: x509.Certificate

    @classmethod
    def read(cls, chain: str, anchor: str) -> Chain:
        """From PEM. Raises ChainError."""
        try:
            return cls(
                tuple(x509.load_pem_x509_certificates(chain.encode())), x509.load_pem_x509_certificate(anchor.encode())
            )
        except ValueError as error:
            raise ChainError(f"found no certificates: {error}; wanted them in PEM") from None

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate of the key."""
        return self.certificates[0]

    @property
    def der(self) -> bytes:
        """The certificate of the key, as a device keeps it."""
        return self.leaf.public_bytes(Encoding.DER)

    @property
    def public(self) -> bytes:
        """SubjectPublicKeyInfo of its key, in DER."""
        return self.leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def judge(self, purpose: str, now: datetime | None = None) -> None:
        """Raises ChainError with the first thing that is wrong."""
        now = now or datetime.now(UTC)
        over = (*self.certificates[1:], self.anchor)
        for one in (*self.certificates, self.anchor):
            _ours(one, now)
        for one, issuer in zip(self.certificates, over, strict=True):
            _issued(one, issuer)
        _for(self.leaf, purpose)


def algorithm_of(public: bytes) -> str:
    """What the inputs of a key call the algorithm of a public one (SubjectPublicKeyInfo in DER)."""
    key = load_der_public_key(public)
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa-{key.key_size}"
    return f"ec-p{key.curve.key_size}" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__


def _issued(one: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise ChainError(f"found one that {_name(issuer)} did not sign; wanted a chain to it") from None
    constraints = _extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise ChainError(f"found {_name(issuer)} over it, which is no authority; wanted one")


def _ours(one: x509.Certificate, now: datetime) -> None:
    if not one.not_valid_before_utc <= now < one.not_valid_after_utc:
        raise ChainError(
            f"found {_name(one)} valid from {one.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; wanted now, {now:%Y-%m-%d %H:%M}, within"
        )
    if not isinstance(one.signature_hash_algorithm, STRONG):
        found = one.signature_hash_algorithm
        raise ChainError(
            f"found {_name(one)} signed with {found.name if found else 'no hash'}; wanted SHA-256 or better"
        )
    public = one.public_key()
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < LEAST_BITS:
        raise ChainError(f"found RSA with {public.key_size} bits for {_name(one)}; wanted {LEAST_BITS} at least")
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name not in CURVES:
        raise ChainError(f"found the curve {public.curve.name} for {_name(one)}; wanted {' or '.join(CURVES)}")


def _for(leaf: x509.Certificate, purpose: str) -> None:
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not (usage.digital_signature or usage.content_commitment):
        raise ChainError("found a key usage without signatures; wanted digitalSignature or nonRepudiation")
    if usage.key_cert_sign or usage.crl_sign:
        raise ChainError("found a key usage of an authority; wanted one of who signs documents")
    stamps = [ExtendedKeyUsageOID.TIME_STAMPING]
    found: Sequence[Any] = list(_extension(leaf, x509.ExtendedKeyUsage) or [])
    if purpose == "time-stamp":
        if found != stamps or not leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).critical:
            raise ChainError(
                "found no extended key usage that is timeStamping alone and critical; wanted that (RFC 3161)"
            )
    elif stamps[0] in found:
        raise ChainError(f"found a certificate for time-stamps; wanted one for {KINDS[purpose]}")
    elif purpose == "images" and ExtendedKeyUsageOID.CODE_SIGNING not in found:
        raise ChainError("found no extended key usage codeSigning; wanted that of a certificate for images")
    elif purpose != "images" and ExtendedKeyUsageOID.CODE_SIGNING in found:
        raise ChainError("found a certificate for images; wanted one for documents")


def _extension(one: x509.Certificate, kind: Any) -> Any:
    try:
        return one.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(one: x509.Certificate) -> str:
    return one.subject.rfc4514_string()
