"""The shared key that signs updates of the service domain: made on the operator's machine, kept in its state folder."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from qhs import whole
from qhs.twin.names import Twin

BYTES = 32  # as long as the digest of HMAC-SHA256


def key_file(twin: Twin) -> Path:
    """The file that holds the key in base64, made on first use; a killed run leaves a whole one or none."""
    path = twin.state / "secrets" / "names-update"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        whole.write(path, base64.b64encode(secrets.token_bytes(BYTES)).decode() + "\n", mode=0o600)
    return path
