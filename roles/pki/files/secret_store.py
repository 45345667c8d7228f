"""Asks the secret store of the site as this machine, by the certificate that it has of the estate."""

import http.client
import json
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

TLS = Path("/etc/qhs/tls")
PORT, PATIENCE = 8200, 10  # seconds for an answer


class AbsentError(Exception):
    """No node of the store told it, and why."""


class NothingError(OSError):
    """Nothing stands at a path."""


class Asking:
    """One node, let in by a way in that the store knows. Raises OSError, HTTPException, ValueError or KeyError."""

    def __init__(self, node: str, way_in: str) -> None:
        context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
        self._connection = http.client.HTTPSConnection(node, PORT, context=context, timeout=PATIENCE)
        self._token: dict[str, str] = {}
        login = self._answer("POST", "auth/cert/login", json.dumps({"name": way_in}))
        self._token = {"X-Vault-Token": login["auth"]["client_token"]}

    def secret(self, path: str) -> dict[str, Any]:
        """The newest version of one."""
        found: dict[str, Any] = self._answer("GET", f"secret/data/{path}")["data"]["data"]
        return found

    def names(self, below: str) -> list[str]:
        """Of the secrets below a path."""
        try:
            return sorted(self._answer("LIST", f"secret/metadata/{below}")["data"]["keys"])
        except NothingError:
            return []

    def signed(self, at: str, request: str) -> dict[str, Any]:
        """What an engine for certificates answers at a path to a request, in PEM."""
        answer: dict[str, Any] = self._answer("POST", at, json.dumps({"csr": request}))["data"]
        return answer

    def authority(self, engine: str) -> str:
        """The certificate by which an engine for certificates signs, in PEM."""
        found: str = self._answer("GET", f"{engine}/cert/ca")["data"]["certificate"]
        return found

    def keep_first(self, path: str, fields: dict[str, Any]) -> None:
        """A secret where none ever was."""
        self._answer("POST", f"secret/data/{path}", json.dumps({"data": fields, "options": {"cas": 0}}))

    def close(self) -> None:
        """The connection, whatever was asked."""
        self._connection.close()

    def _answer(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        self._connection.request(method, f"/v1/{path}", body, self._token)
        response = self._connection.getresponse()
        text = response.read()
        if response.status != http.client.OK:
            kind = NothingError if response.status == http.client.NOT_FOUND else OSError
            raise kind(f"{path}: {response.status} {response.reason}")
        answer: dict[str, Any] = json.loads(text)
        return answer


def of_any[T](nodes: Iterable[str], way_in: str, question: Callable[[Asking], T]) -> T:
    """What the first node says that answers. Raises AbsentError with what each said."""
    said = []
    for node in nodes:
        try:
            asking = Asking(node, way_in)
            try:
                return question(asking)
            finally:
                asking.close()
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            said.append(f"{node}: {error or type(error).__name__}")
    raise AbsentError(f"the secret store does not tell: {'; '.join(said)}")
