"""Whether a password is the one that a server keeps a verifier of (RFC 5802, RFC 7677)."""

from __future__ import annotations

import base64
import hashlib
import hmac


def fits(verifier: str, password: str) -> bool:
    """`verifier` as PostgreSQL has it: `SCRAM-SHA-256$ROUNDS:SALT$STORED:SERVER`. The password is of ASCII alone."""
    kind, *parts = verifier.split("$")
    if kind != "SCRAM-SHA-256":
        return False
    rounds, salt = parts[0].split(":")
    stored, _ = parts[1].split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(hashlib.sha256(client).digest(), base64.b64decode(stored))
