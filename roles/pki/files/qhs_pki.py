#!/usr/bin/python3
"""The certificates of this machine: X.509 for its services, OpenSSH's for its host key.

    check NAME...    say on standard output why new ones are needed for these names, and exit with 2; or nothing
    request NAME...  print what an authority signs, as JSON; the key is made here on first use, and stays here
    install          take the authority's answer from standard input, and tell the services that use it
    renew [--now]    have the authority of this site sign anew, if two thirds of their time are over

Whatever answers `renew` may change: this file is all that knows how it is asked.
"""

from __future__ import annotations

import grp
import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHCertificate,
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_identity,
    load_ssh_public_key,
)
from cryptography.x509.oid import NameOID

TLS = Path("/etc/qhs/tls")
KEY, CERTIFICATE, ROOT = TLS / "machine.key", TLS / "machine.crt", TLS / "ca.crt"
USERS = TLS / "users.d"  # a file each with names of units, one a line, that read the certificate
GROUP = "qhs-tls"
CONFIGURATION = Path("/etc/qhs/pki.json")
HOST_KEY = Path("/etc/ssh/ssh_host_ed25519_key")
HOST_CERTIFICATE = Path("/etc/ssh/ssh_host_ed25519_key-cert.pub")
# Read by the exporter of metrics, for the alert that a certificate was not renewed.
METRICS = Path("/var/lib/prometheus/node-exporter/qhs_pki.prom")
UNTOLD = Path("/run/qhs-pki-untold")  # while a certificate is new and its users do not know it
RENEW_AT = 2 / 3
LATE = timedelta(days=1)  # before the end: the timer should have renewed long ago
PATIENCE = 30  # seconds for the authority's answer


def names_of(certificate: x509.Certificate) -> list[str]:
    """Its first name first."""
    (own,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    others = {str(one.value) for one in found if isinstance(one, x509.DNSName | x509.IPAddress)}
    return [str(own.value), *sorted(others - {str(own.value)})]


def chain() -> tuple[x509.Certificate, x509.Certificate]:
    """The machine's certificate and its issuer's."""
    leaf, issuer = x509.load_pem_x509_certificates(CERTIFICATE.read_bytes())
    return leaf, issuer


def wrong(names: Iterable[str], now: datetime) -> str:
    """Why new certificates are needed; empty: they are not."""
    try:
        leaf, issuer = chain()
        leaf.verify_directly_issued_by(issuer)
        issuer.verify_directly_issued_by(x509.load_pem_x509_certificate(ROOT.read_bytes()))
        host = host_certificate()
        if leaf.public_key() != private_key().public_key():
            return "the certificate is for another key"
        if host.public_key() != load_ssh_public_key(host_key().encode()):
            return "the host certificate is for another key"
    except Exception as error:
        return f"no whole chain up to the root: {error!r}"
    if set(names_of(leaf)) != set(names):
        return f"found names {names_of(leaf)}"
    if ends(leaf, host) - LATE < now:
        return f"valid until {ends(leaf, host)} only"
    return ""


def ends(leaf: x509.Certificate, host: SSHCertificate) -> datetime:
    """When the first of them is over."""
    return min(leaf.not_valid_after_utc, datetime.fromtimestamp(host.valid_before, UTC))


def host_certificate() -> SSHCertificate:
    """Raises TypeError where the file holds something else."""
    found = load_ssh_public_identity(HOST_CERTIFICATE.read_bytes())
    if not isinstance(found, SSHCertificate):
        raise TypeError(f"{HOST_CERTIFICATE}: found no certificate")
    return found


def make_key() -> None:
    """On first use; the group may read it."""
    if not KEY.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        write(KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o640, GROUP)


def private_key() -> ec.EllipticCurvePrivateKey:
    """Raises OSError where there is none."""
    return cast(ec.EllipticCurvePrivateKey, load_pem_private_key(KEY.read_bytes(), None))


def request(names: Sequence[str]) -> dict[str, str]:
    """What an authority signs."""
    make_key()
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
        .add_extension(x509.SubjectAlternativeName([general(name) for name in names]), critical=False)
        .sign(private_key(), hashes.SHA256())
    )
    return {"csr": csr.public_bytes(Encoding.PEM).decode(), "ssh": host_key()}


def host_key() -> str:
    """The public half, in OpenSSH's format."""
    key = load_ssh_private_key(HOST_KEY.read_bytes(), None)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def general(name: str) -> x509.GeneralName:
    """An address or a host name."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def install(answer: dict[str, str]) -> None:
    """Put both in their places; who uses them reads them again, and keeps its connections where it can."""
    x509.load_pem_x509_certificates(answer["certificate"].encode())
    load_ssh_public_identity(answer["ssh"].encode())
    UNTOLD.touch()
    write(HOST_CERTIFICATE, answer["ssh"].encode() + b"\n", 0o644, "root")
    write(CERTIFICATE, answer["certificate"].encode(), 0o644, "root")
    tell()
    publish()


def publish() -> None:
    """When each certificate ends. Nothing depends on it but an alert, so that it fails with a line alone."""
    try:
        ends = {"machine": chain()[0].not_valid_after_utc.timestamp(), "host": host_certificate().valid_before}
        lines = [f'qhs_certificate_end_seconds{{kind="{kind}"}} {end:.0f}\n' for kind, end in ends.items()]
        write(METRICS, "".join(lines).encode(), 0o644, "root")
    except (OSError, ValueError, TypeError) as error:
        print(f"{METRICS} is not up to date: {error!r}", file=sys.stderr)


def tell() -> None:
    """A boot tells them too, so that the note need not outlive one."""
    units = sorted({unit for file in USERS.iterdir() for unit in file.read_text().split()})
    subprocess.run(["systemctl", "try-reload-or-restart", *units], check=True)
    UNTOLD.unlink(missing_ok=True)


def renew(now: datetime, whatever: bool) -> None:
    """Raises OSError where the authority does not answer, ValueError where it says no."""
    if UNTOLD.exists():
        tell()
    publish()
    leaf, _ = chain()
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not whatever and now < start + (end - start) * RENEW_AT:
        return
    answer = ask(request(names_of(leaf)))
    install(answer)
    (fresh, _) = chain()
    print(f"renewed: serial {fresh.serial_number:x} valid until {fresh.not_valid_after_utc}")


def ask(wanted: dict[str, str]) -> dict[str, str]:
    """Of the authority of this site, with the certificate that is still good."""
    where = json.loads(CONFIGURATION.read_text())
    context = ssl.create_default_context(cafile=str(ROOT))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(CERTIFICATE, KEY)
    connection = http.client.HTTPSConnection(where["host"], where["port"], context=context, timeout=PATIENCE)
    connection.request("POST", "/renew", json.dumps(wanted), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    if answer.status != http.client.OK:
        raise ValueError(f"{where['host']} refuses: {said['error']}")
    return cast(dict[str, str], said)


def write(path: Path, content: bytes, mode: int, group: str) -> None:
    """Whole or not at all, with its owner and mode from the first moment."""
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as stream:
        os.fchown(handle, 0, grp.getgrnam(group).gr_gid)
        os.fchmod(handle, mode)
        stream.write(content)
        stream.flush()
        os.fsync(handle)
    Path(fresh).replace(path)


def main() -> None:
    """Entry point."""
    match sys.argv[1:]:
        case ["check", *names] if names:
            if reason := wrong(names, datetime.now(UTC)):
                print(reason)
                sys.exit(2)
        case ["request", *names] if names:
            print(json.dumps(request(names)))
        case ["install"]:
            install(json.load(sys.stdin))
        case ["renew"] | ["renew", "--now"]:
            try:
                renew(datetime.now(UTC), "--now" in sys.argv)
            except (OSError, ValueError, subprocess.CalledProcessError) as error:
                sys.exit(
                    f"not renewed: {error}; wanted an answer of the authority that {CONFIGURATION} names. "
                    "What is valid stays; the timer tries again, and `qhs up` puts right what has run out."
                )
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
