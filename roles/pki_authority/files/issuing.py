"""What a site's authority signs: the certificates of a machine, for its own names and nothing else."""

from __future__ import annotations

import secrets
import syslog
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MACHINE_FOR = timedelta(days=7)
HOST_FOR = timedelta(days=30)
SERVER_FOR = timedelta(days=1)  # of the service's own certificate, made whenever it starts
EARLIER = timedelta(minutes=5)  # for clocks that are behind


class RefusedError(Exception):
    """What is wrong with a request."""


@dataclass(frozen=True)
class Authority:
    """The keys of a site's authority, and the certificate of the root for one of them."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    host_key: ed25519.Ed25519PrivateKey

    def issue(self, request: dict[str, str], names: Sequence[str], now: datetime) -> dict[str, str]:
        """Both certificates of a machine called `names`, the first of them its own. Raises RefusedError."""
        csr = checked(request, names)
        leaf = self._leaf(csr.public_key(), names, now, MACHINE_FOR)
        host = self.host_certificate(request["ssh"], names, now)
        return {"certificate": pem(leaf) + pem(self.certificate), "ssh": host}

    def server(self, names: Sequence[str], now: datetime) -> bytes:
        """Key and certificates of the service itself, which need no renewal by anybody."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._leaf(key.public_key(), names, now, SERVER_FOR)
        return private(key) + (pem(leaf) + pem(self.certificate)).encode()

    def _leaf(self, key: Any, names: Sequence[str], now: datetime, span: timedelta) -> x509.Certificate:
        """For both sides of a connection, and for nothing else. It does not outlive the certificate above it."""
        until = min(now + span, self.certificate.not_valid_after_utc)
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        own = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - EARLIER)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False
            )
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        audit("issued", kind="x509", serial=f"{leaf.serial_number:x}", names=",".join(names), until=until)
        return leaf

    def host_certificate(self, public: str, names: Sequence[str], now: datetime) -> str:
        """For a host key, in OpenSSH's format."""
        serial, until = secrets.randbits(63), now + HOST_FOR
        certificate = (
            SSHCertificateBuilder()
            .public_key(cast(ed25519.Ed25519PublicKey, load_ssh_public_key(public.encode())))
            .serial(serial)
            .type(SSHCertificateType.HOST)
            .key_id(names[0].encode())
            .valid_principals([name.encode() for name in names])
            .valid_after(int((now - EARLIER).timestamp()))
            .valid_before(int(until.timestamp()))
            .sign(self.host_key)
        )
        audit("issued", kind="ssh-host", serial=serial, names=",".join(names), until=until)
        return certificate.public_bytes().decode()


def checked(request: dict[str, str], names: Sequence[str]) -> x509.CertificateSigningRequest:
    """The request in it, where it is for these names and a key of the right kind alone. Raises RefusedError."""
    try:
        csr = x509.load_pem_x509_csr(request["csr"].encode())
        host = load_ssh_public_key(request["ssh"].encode())
        asked = names_of(csr.extensions)
        extensions = {one.oid for one in csr.extensions}
    except (KeyError, ValueError, TypeError, AttributeError, x509.ExtensionNotFound) as error:
        raise RefusedError(f"found no request with names and an OpenSSH key: {error!r}") from None
    if not csr.is_signature_valid:
        raise RefusedError("the request is not signed by its own key")
    own = csr.public_key()
    if not isinstance(own, ec.EllipticCurvePublicKey) or own.curve.name != "secp256r1":
        raise RefusedError("found another kind of key, wanted ECDSA on P-256")
    if not isinstance(host, ed25519.Ed25519PublicKey):
        raise RefusedError("found another kind of host key, wanted Ed25519")
    if extensions != {x509.SubjectAlternativeName.oid}:
        raise RefusedError(f"found extensions {sorted(one.dotted_string for one in extensions)}, wanted names alone")
    if asked != set(names):
        raise RefusedError(f"found names {','.join(sorted(asked))}, wanted {','.join(sorted(names))}")
    return csr


def names_of(extensions: x509.Extensions) -> set[str]:
    """Host names and addresses; a name of another kind counts as one that nobody has."""
    found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(one.value) if isinstance(one, x509.DNSName | x509.IPAddress) else repr(one) for one in found}


def entitled(shown: x509.Certificate, issuer: x509.Name) -> list[str]:
    """The names that a machine may renew: those of the certificate that it shows, which TLS has verified."""
    if shown.issuer != issuer:
        raise RefusedError(f"found a certificate of {shown.issuer.rfc4514_string()}, wanted {issuer.rfc4514_string()}")
    (own,) = shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    first = str(own.value)
    return [first, *sorted(names_of(shown.extensions) - {first})]


def audit(what: str, **details: object) -> None:
    """One line in the journal."""
    syslog.syslog(syslog.LOG_AUTH | syslog.LOG_NOTICE, " ".join([what, *(f"{k}={v}" for k, v in details.items())]))


def private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
