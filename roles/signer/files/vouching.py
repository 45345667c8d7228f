"""Whom an authority vouches for: who has a certificate of it that is valid now and that it has not revoked (RFC 5280).

What it revoked stands in a list (CRL) with an end. One that has ended tells nothing, so by then nobody is vouched for:
who holds a new list back gains no signature by it.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from refusing import NoSignatureError

SIGNING = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
"""Keys of authorities; others sign no list."""
MOST = 4096  # certificates that are remembered


@dataclass(frozen=True)
class Files:
    """Where an authority's certificate is and its list, in PEM, and where the newest list is kept that was seen."""

    certificate: Path
    revoked: Path
    newest: Path


class Authority:
    """One that signs certificates of holders itself, with none between, and its list of those that it revoked."""

    def __init__(self, holds: str, files: Files, clock: Callable[[], float] = time.time) -> None:
        """`holds`: what its holders have of it."""
        self._holds = holds
        self._certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        self._clock = clock
        self._revoked = self._newest(files)
        self._serials = frozenset(one.serial_number for one in self._revoked or ())
        # The signature under a certificate is verified once, as long as it is remembered.
        self._issued = lru_cache(MOST)(self._verified)

    @property
    def until(self) -> datetime:
        """When its list ends; long ago, where it has none."""
        end = None if self._revoked is None else self._revoked.next_update_utc
        return end or datetime.fromtimestamp(0, UTC)

    def vouched(self, der: bytes) -> x509.Certificate:
        """A certificate, if it is good now. Raises NoSignatureError."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        try:
            found = self._issued(der)
        except Exception:  # whatever is wrong with what a stranger sent, it is not believed
            raise self._refused("unknown", f"{_name(self._certificate)} has signed no such {self._holds}") from None
        for one in (found, self._certificate):
            if not one.not_valid_before_utc <= now < one.not_valid_after_utc:
                raise self._refused(
                    "expired", f"{_name(one)}: valid from {one.not_valid_before_utc} to {one.not_valid_after_utc}"
                )
        if found.serial_number in self._serials:
            raise self._refused("revoked", f"{_name(self._certificate)} has revoked the {self._holds} {_name(found)}")
        if now >= self.until:
            message = f"what {_name(self._certificate)} has revoked is not known: its list ended {self.until}"
            raise self._refused("unsure", message, 503)  # the other device of the site may have a newer one
        return found

    def _refused(self, fault: str, message: str, status: int = 403) -> NoSignatureError:
        return NoSignatureError(status, f"{self._holds}-{fault}", message)

    def _verified(self, der: bytes) -> x509.Certificate:
        found = x509.load_der_x509_certificate(der)
        found.verify_directly_issued_by(self._certificate)
        return found

    def _newest(self, files: Files) -> x509.CertificateRevocationList | None:
        """Of the list that was brought and the one kept, so that an older one takes no revocation back."""
        found = [one for path in (files.revoked, files.newest) if (one := self._read(path)) is not None]
        best = max(found, key=_number, default=None)
        if best is not None:  # an empty one is false
            _keep(files.newest, best.public_bytes(Encoding.PEM))
        return best

    def _read(self, path: Path) -> x509.CertificateRevocationList | None:
        """A list that the authority has signed, whole and not for some certificates alone."""
        with suppress(OSError, ValueError):
            found = x509.load_pem_x509_crl(path.read_bytes())
            partial = any(one.critical for one in found.extensions)
            if found.issuer == self._certificate.subject and not partial and self._signed(found):
                return found
        return None

    def _signed(self, found: x509.CertificateRevocationList) -> bool:
        key = self._certificate.public_key()
        return isinstance(key, SIGNING) and found.is_signature_valid(key)


def _name(of: x509.Certificate) -> str:
    return of.subject.rfc4514_string()


def _number(found: x509.CertificateRevocationList) -> int:
    try:
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:  # RFC 5280 wants one
        return -1


def _keep(path: Path, pem: bytes) -> None:
    """Whole or not at all."""
    if path.is_file() and path.read_bytes() == pem:
        return
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(pem)
        os.fsync(file.fileno())
    new.replace(path)
