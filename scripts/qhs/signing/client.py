"""A client of the signing service: who has a credential releases one digest, and gets one signature."""

from __future__ import annotations

import base64
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jwt
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

GOOD_FOR, LONGEST = 60, 120
"""Seconds for which a release is good, and may be at the longest."""
PATIENCE = 30
"""Seconds for an answer."""
ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *((socket.IPPROTO_TCP, one, 1) for one in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
"""Options of a connection: after a second of silence its other end is asked each second, and given up after three."""


class SigningError(Exception):
    """The service gave no signature: its word for why, and what it said."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True)
class Credential:
    """A key and the certificate for it, from one file."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def read(cls, path: Path) -> Credential:
        """Of a signatory: a key and a certificate for it, in PEM."""
        pem = path.read_bytes()
        key = cast(ec.EllipticCurvePrivateKey, load_pem_private_key(pem, None))
        return cls(key, x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE") :]))

    def release(self, key: str, digest: bytes, algorithm: str, form: str, seconds: float = GOOD_FOR) -> str:
        """A statement that this digest, and no other, may be signed with a key: once, within `seconds`."""
        claims = {"key": key, "digest": digest.hex(), "algorithm": algorithm, "form": form}
        moment = {"exp": time.time() + seconds, "jti": str(uuid.uuid4())}
        shown = base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()
        return jwt.encode({**claims, **moment}, self.key, algorithm="ES256", headers={"x5c": [shown]})


class _Watched(HTTPAdapter):
    """Whoever answered may be gone without a word, and its address be with another host: that is asked every second."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """With connections that are watched."""
        options = [*HTTPConnection.default_socket_options, *ALIVE]
        super().init_poolmanager(*args, socket_options=options, **kwargs)


class SigningService:
    """A site's. Connections are kept, so one is for one thread."""

    def __init__(self, address: str, name: str, root: Path, caller: tuple[Path, Path] | Path) -> None:
        """`name`: of the service, as its certificate has it; `caller`: whose certificate is shown."""
        self._at = f"https://{address}"
        self._session = requests.Session()
        self._session.mount("https://", _Watched())
        self._session.trust_env = False
        self._session.verify = str(root)
        self._session.cert = (str(caller[0]), str(caller[1])) if isinstance(caller, tuple) else str(caller)
        self._session.headers["Host"] = name

    def sign(self, credential: Credential, key: str, digest: bytes, *, algorithm: str = "sha256", form: str) -> bytes:
        """A signature in a form: `raw`, or CMS as `cades` and `pades`. Raises SigningError."""
        release = credential.release(key, digest, algorithm, form)
        return self.sign_released(release, key, digest, algorithm=algorithm, form=form)

    def sign_released(self, release: str, key: str, digest: bytes, *, algorithm: str = "sha256", form: str) -> bytes:
        """As somebody else has released it. Raises SigningError."""
        asked = {"key": key, "algorithm": algorithm, "digest": digest.hex(), "form": form, "release": release}
        answer = self._answer(self._session.post(f"{self._at}/v1/sign", json=asked, timeout=PATIENCE))
        return base64.b64decode(answer.json()["signature"])

    def stamp(self, request: bytes) -> bytes:
        """What the service answers to a request of RFC 3161. Raises SigningError."""
        headers = {"Content-Type": "application/timestamp-query"}
        return self._answer(
            self._session.post(f"{self._at}/v1/time-stamp", data=request, headers=headers, timeout=PATIENCE)
        ).content

    @staticmethod
    def _answer(response: requests.Response) -> requests.Response:
        if not response.ok:
            try:
                error = response.json()["error"]
            except (ValueError, KeyError):
                raise SigningError(str(response.status_code), response.reason) from None
            raise SigningError(error["code"], error["message"])
        return response
