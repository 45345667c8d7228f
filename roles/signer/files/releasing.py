"""What releases a signature: a statement of whoever's key it is, for one digest, for seconds, once.

It is a JSON Web Signature with the certificate of the signatory in it; whoever passes it on can change nothing in it.
"""

import base64
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from refusing import NoSignatureError
from vouching import Authority

ALGORITHMS = ["ES256", "ES384"]
LONGEST = 120  # seconds that a statement may be good for
LATE = 5  # seconds by which clocks may differ
BOUND = ("key", "digest", "algorithm", "form")


class Releases:
    """Remembers what was used, for as long as it could be used again: also in a file, for the service's next start."""

    def __init__(self, authority: Authority, kept: Path, clock: Callable[[], float] = time.time) -> None:
        self._authority, self._clock = authority, clock
        self._kept = os.open(kept, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._used = _read(self._kept)
        self._swept = 0.0

    @contextmanager
    def used(self, statement: str, asked: dict[str, str]) -> Iterator[str]:
        """Who released what is asked; unused again where nothing was signed. Raises NoSignatureError."""
        credential = self._credential(statement)
        claims = _claims(statement, credential)
        name = _common_name(credential)
        now = self._clock()
        if not now - LATE < float(claims["exp"]) <= now + LONGEST + LATE:
            raise NoSignatureError(
                403, "expired", f"the release is good until {claims['exp']}; wanted at most {LONGEST} s"
            )
        if odd := [one for one in BOUND if claims.get(one) != asked[one]]:
            raise NoSignatureError(403, "other-release", f"the release is for another {', '.join(odd)}")
        if name != asked["key"]:
            raise NoSignatureError(403, "other-signatory", f"the release is of {name}, and the key is not")
        self._sweep(now)
        number = hashlib.sha256(str(claims["jti"]).encode()).hexdigest()
        if number in self._used:
            raise NoSignatureError(403, "replay", "the release was used before")
        self._used[number] = float(claims["exp"]) + LATE
        os.write(self._kept, f"{self._used[number]} {number}\n".encode())
        try:
            yield name
        except BaseException:
            self._used.pop(number, None)  # it may have been too old by then
            raise

    def _sweep(self, now: float) -> None:
        """Forget what is too old to be used again: once a second, as under load there are many to look through."""
        if now >= self._swept + 1:
            self._used = {one: end for one, end in self._used.items() if end > now}
            self._swept = now
            if not self._used:
                os.ftruncate(self._kept, 0)

    def _credential(self, statement: str) -> x509.Certificate:
        """The certificate of whoever made the statement."""
        try:
            shown = base64.b64decode(jwt.get_unverified_header(statement)["x5c"][0])
        except Exception:  # whatever is wrong with what a stranger sent, it is not believed
            raise NoSignatureError(403, "credential-unknown", "the release has no credential in it") from None
        return self._authority.vouched(shown)


def _read(kept: int) -> dict[str, float]:
    """What was used, and until when it could be again. Where a service died at a line, nothing was signed by it."""
    text = os.pread(kept, os.fstat(kept).st_size, 0).decode()
    if text and not text.endswith("\n"):
        os.write(kept, b"\n")
    used = {}
    for line in text.splitlines():
        match line.split():
            case [end, number]:
                used[number] = float(end)
    return used


def _claims(statement: str, credential: x509.Certificate) -> dict[str, Any]:
    public = credential.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise NoSignatureError(403, "credential-unknown", "the credential has no key for ECDSA")
    try:
        # When it ends is judged by our own clock, above.
        found: dict[str, Any] = jwt.decode(
            statement,
            public,
            algorithms=ALGORITHMS,
            options={"require": ["exp", "jti", *BOUND], "verify_exp": False, "verify_aud": False},
        )
    except jwt.PyJWTError as error:
        raise NoSignatureError(403, "not-released", f"the release does not hold: {error}") from None
    return found


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""
