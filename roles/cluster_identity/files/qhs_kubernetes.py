#!/usr/bin/python3 -B
"""The certificates of the parts of a cluster on this machine, and what its control planes have in common.

    fetch  have the site's secret store sign what is missing or has had two thirds of its time, and ask it for the rest

What fails is a line on standard error, with exit code 1; what is still good stays.
"""

import base64
import json
import os
import secrets
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

sys.path.insert(0, "/usr/local/lib/qhs-pki")
from secret_store import AbsentError, Asking, NothingError, of_any

SETTINGS = Path("/etc/qhs/kubernetes/identity.json")
KEPT = Path("/var/lib/qhs-kubernetes")  # a file a part, its certificate and then its key
AUTHORITY = KEPT / "ca.crt"
IN_MEMORY = Path("/run/qhs-kubernetes")
WHOLE = IN_MEMORY / "whole"  # once all is there
RENEW_AT = 2 / 3
FIRST = 50
"""Seconds for which it asks for what it never had: a site that is being made lets it in some time."""


def settings() -> dict[str, Any]:
    """What the role wrote."""
    found: dict[str, Any] = json.loads(SETTINGS.read_text())
    return found


def fetch() -> None:
    """All of it, or what was there before. Raises AbsentError."""
    wanted, end = settings(), time.monotonic() + FIRST
    while True:
        try:
            of_any(wanted["nodes"], wanted["way_in"], lambda asking: ask(asking, wanted))
            break
        except AbsentError:
            if WHOLE.exists() or time.monotonic() > end:
                raise
        time.sleep(2)
    WHOLE.touch()


def ask(asking: Asking, wanted: dict[str, Any]) -> None:
    """One node of the store. An authority that is another one by now certifies everybody anew."""
    authority = asking.authority(wanted["engine"])
    if not AUTHORITY.exists() or AUTHORITY.read_text() != authority:
        write(AUTHORITY, authority.encode())
    for part in wanted["parts"]:
        if elapsed(part) > RENEW_AT:
            certify(asking, wanted["engine"], part)
    if wanted["shared"]:
        share(asking, wanted["shared"])


def certify(asking: Asking, engine: str, part: dict[str, str]) -> None:
    """A new key and its certificate, in one file, so that nobody reads one without the other."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder()
    request = request.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, part["user"])]))
    if part["host"]:
        request = request.add_extension(x509.SubjectAlternativeName([x509.DNSName(part["host"])]), critical=False)
    pem = request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    certificate = asking.signed(f"{engine}/sign/{part['name']}", pem)["certificate"]
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(file(part), certificate.encode() + b"\n" + private)


def share(asking: Asking, below: str) -> None:
    """What signs the tokens of services and what secrets are encrypted with: made by whoever comes first."""
    signing = common(asking, f"{below}/service-accounts", lambda: {"key": signing_key()})
    update(IN_MEMORY / "service-accounts.key", signing["key"])
    first = [{"name": "first", "secret": base64.b64encode(secrets.token_bytes(32)).decode()}]
    encrypting = common(asking, f"{below}/encryption", lambda: {"keys": first})
    update(IN_MEMORY / "encryption.json", json.dumps(encryption(encrypting["keys"])))


def common(asking: Asking, path: str, made: Any) -> dict[str, Any]:
    """Who is second to make it is refused, and finds it at the next try."""
    try:
        return asking.secret(path)
    except NothingError:
        asking.keep_first(path, made())
        return asking.secret(path)


def signing_key() -> str:
    """In PEM."""
    made = ec.generate_private_key(ec.SECP256R1())
    return made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def encryption(keys: list[dict[str, str]]) -> dict[str, Any]:
    """The API server's words: the first key encrypts, all of them decrypt, and what is not encrypted is not read."""
    return {
        "kind": "EncryptionConfiguration",
        "apiVersion": "apiserver.config.k8s.io/v1",
        "resources": [{"resources": ["secrets"], "providers": [{"secretbox": {"keys": keys}}]}],
    }


def file(part: dict[str, str]) -> Path:
    """Of a part."""
    return KEPT / f"{part['name']}.pem"


def certificate(part: dict[str, str]) -> x509.Certificate | None:
    """Of a part, from the authority of now; None: it has none."""
    try:
        found = x509.load_pem_x509_certificate(file(part).read_bytes())
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(AUTHORITY.read_bytes()))
    except (OSError, ValueError, InvalidSignature):
        return None
    (name,) = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return found if name.value == part["user"] else None


def elapsed(part: dict[str, str]) -> float:
    """Which part of the time of its certificate is over; 1: all of it, or it has none."""
    found = certificate(part)
    if found is None:
        return 1.0
    lasts: timedelta = found.not_valid_after_utc - found.not_valid_before_utc
    return (datetime.now(UTC) - found.not_valid_before_utc) / lasts


def update(path: Path, text: str) -> None:
    """Whoever looks for a change sees one only where there is one."""
    if not path.exists() or path.read_text() != text:
        write(path, text.encode())


def write(path: Path, content: bytes) -> None:
    """Whole or not at all, for this user alone from the first moment."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def main() -> None:
    """Entry point."""
    match sys.argv[1:]:
        case ["fetch"]:
            try:
                fetch()
            except AbsentError as error:
                sys.exit(f"not fetched: {error}; what is still good stays, and the timer tries again")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
