#!/usr/bin/python3 -B
"""The certificate authority of a site, on the site's infrastructure machine.

    request        print a request for the certificate of this authority, as JSON; keys are made here on first use
    install        take the certificate that the root answered with, from standard input
    check          say on standard output why a certificate is needed, and exit with 2; or nothing
    issue NAME...  sign the request of a machine on standard input for exactly these names: its first certificate
    serve          sign requests of machines that show a certificate of this site, for the names that stand in it

A machine gets two certificates with one request: X.509 for its TLS key, OpenSSH's for its host key. The journal has a
line for each one that was issued, and for each request that was refused, with the reason.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
import syslog
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from cryptography.x509.oid import NameOID
from issuing import Authority, RefusedError, audit, private

USER = "qhs-pki"
FOLDER = Path("/var/lib/qhs-pki")
KEY, HOSTS_KEY = FOLDER / "authority.key", FOLDER / "hosts.key"
CONFIGURATION = Path("/etc/qhs/pki-authority.json")
ROOT = Path("/etc/qhs/pki-root.crt")
RENEW_AT = 2 / 3


def load() -> Authority:
    """Raises OSError where the root has not answered yet, or a key is gone."""
    (certificate,) = x509.load_pem_x509_certificates((FOLDER / "authority.crt").read_bytes())
    return Authority(_key(), certificate, _host_key())


def configuration() -> Any:
    """`title`, the name of the authority; `names`, those of the service; `store`, as `Renewals` has it."""
    return json.loads(CONFIGURATION.read_text())


def request() -> None:
    """The public halves; of the host authority too, which the operator's known hosts name. Makes what is missing."""
    _make_keys()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, configuration()["title"])])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(_key(), hashes.SHA256())
    print(json.dumps({"csr": csr.public_bytes(Encoding.PEM).decode(), "hosts": _openssh(_host_key())}))


def install() -> None:
    """The certificate that the root gave."""
    _write(FOLDER / "authority.crt", sys.stdin.buffer.read())


def due(now: datetime) -> str:
    """Why this authority needs a certificate of the root; empty: it does not."""
    try:
        authority = load()
        authority.certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ROOT.read_bytes()))
    except Exception as error:
        return f"no certificate of the root: {error!r}"
    begins, ends = authority.certificate.not_valid_before_utc, authority.certificate.not_valid_after_utc
    if authority.certificate.public_key() != authority.key.public_key():
        return "the certificate is for another key"
    return "" if now < begins + (ends - begins) * RENEW_AT else f"valid until {ends} only"


def _make_keys() -> None:
    """Only where the root is asked, too: nobody would know of a key that was made at another time."""
    if not KEY.exists():
        _write(KEY, private(ec.generate_private_key(ec.SECP256R1())))
    if not HOSTS_KEY.exists():
        key = ed25519.Ed25519PrivateKey.generate()
        _write(HOSTS_KEY, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))


def _key() -> ec.EllipticCurvePrivateKey:
    return cast(ec.EllipticCurvePrivateKey, load_pem_private_key(KEY.read_bytes(), None))


def _host_key() -> ed25519.Ed25519PrivateKey:
    return cast(ed25519.Ed25519PrivateKey, load_ssh_private_key(HOSTS_KEY.read_bytes(), None))


def _openssh(key: ed25519.Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and for nobody else to read."""
    handle, fresh = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        os.fsync(stream.fileno())
    Path(fresh).replace(path)


def main() -> None:
    """Entry point. All is done as the authority's own user, also where root calls."""
    syslog.openlog("qhs-pki-authority")
    if os.getuid() == 0:
        own = pwd.getpwnam(USER)
        os.setgroups([])
        os.setgid(own.pw_gid)
        os.setuid(own.pw_uid)
    match sys.argv[1:]:
        case ["serve"]:
            # What role `pki` brings is there once machines have certificates, so for nothing that comes before.
            from renewing import Renewals  # noqa: PLC0415 - it needs what role `pki` brings
            from serving import serve  # noqa: PLC0415 - as above

            known = configuration()
            serve(Renewals(load(), known["store"], FOLDER / "taken-over"), known["names"], ROOT)
        case ["request"]:
            request()
        case ["install"]:
            install()
        case ["check"]:
            if reason := due(datetime.now(UTC)):
                print(reason)
                sys.exit(2)
        case ["issue", *names] if names:
            try:
                print(json.dumps(load().issue(json.load(sys.stdin), names, datetime.now(UTC))))
            except RefusedError as error:
                audit("refused", client="root", reason=error)
                sys.exit(str(error))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
