"""An authority of ours, with the list of certificates that it has revoked (CRL, RFC 5280)."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from qhs import whole
from qhs.pki import root

LIST_FOR = timedelta(days=7)
"""How long a list is good: without another one, signers then take no certificate of the authority (T-E12)."""


@dataclass(frozen=True)
class Authority:
    """It lies in the folder of the bootstrap authority."""

    file: str
    """What its files there are called."""
    title: str

    def certificate(self, own: Path) -> Path:
        """Of the authority; who believes it, believes its holders."""
        return own / f"{self.file}.crt"

    def revoked(self, own: Path) -> Path:
        """Its list: each one says all that was ever revoked, so it is what the next is made from."""
        return own / f"{self.file}.crl"

    def ensure(self, own: Path) -> None:
        """Made at first use; the certificate comes last."""
        if not self.certificate(own).is_file():
            key, signed = root.made(title=self.title, path_length=0)
            whole.write(self._key(own), key, 0o600)
            whole.write(self.certificate(own), signed)

    def ensure_list(self, own: Path, now: datetime | None = None) -> None:
        """A list that is good for half of its time at least."""
        now = now or datetime.now(UTC)
        with self._turn(own):
            last = self._list(own)
            if last is None or (last.next_update_utc or now) < now + LIST_FOR / 2:
                self._write_list(own, now)

    def issued(self, own: Path, certificate: x509.Certificate) -> bool:
        """Whether it signed it."""
        try:
            certificate.verify_directly_issued_by(self.read(own))
        except Exception:  # of whatever kind it is, it is none of ours
            return False
        return True

    def has_revoked(self, own: Path, certificate: x509.Certificate) -> bool:
        """Whether its list names the certificate."""
        found = self._list(own)
        return (
            found is not None and found.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
        )

    def revoke(self, own: Path, certificate: x509.Certificate, now: datetime | None = None) -> bool:
        """Have a new list that names a certificate of its own; whether it was not named before."""
        with self._turn(own):
            if self.has_revoked(own, certificate):
                return False
            self._write_list(own, now or datetime.now(UTC), certificate.serial_number)
        return True

    @contextmanager
    def _turn(self, own: Path) -> Iterator[None]:
        """One at a time: a list that somebody else makes meanwhile would lack what this one names."""
        with self._key(own).open() as key:
            fcntl.flock(key, fcntl.LOCK_EX)
            yield

    def _write_list(self, own: Path, now: datetime, *more: int) -> None:
        last = self._list(own)
        number = 0 if last is None else last.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        signing = self.signing(own)
        built = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.read(own).subject)
            .last_update(now - root.EARLIER)
            .next_update(now + LIST_FOR)
            .add_extension(x509.CRLNumber(number + 1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        )
        for one in last or ():
            built = built.add_revoked_certificate(one)
        for serial in more:
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            built = built.add_revoked_certificate(one)
        whole.write(self.revoked(own), built.sign(signing, hashes.SHA384()).public_bytes(Encoding.PEM))

    def _list(self, own: Path) -> x509.CertificateRevocationList | None:
        path = self.revoked(own)
        return x509.load_pem_x509_crl(path.read_bytes()) if path.is_file() else None

    def read(self, own: Path) -> x509.Certificate:
        """The certificate of the authority."""
        return x509.load_pem_x509_certificate(self.certificate(own).read_bytes())

    def signing(self, own: Path) -> ec.EllipticCurvePrivateKey:
        """The key of the authority."""
        return cast(ec.EllipticCurvePrivateKey, load_pem_private_key(self._key(own).read_bytes(), None))

    def _key(self, own: Path) -> Path:
        return own / f"{self.file}.key"
