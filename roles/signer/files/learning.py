"""What a signer learns from its site's secret store, and keeps in memory alone: PINs, and the certificates of keys."""

import http.client
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

TLS = Path("/etc/qhs/tls")
PORT, PATIENCE = 8200, 10


class AbsentError(Exception):
    """No node of the store told it, and why."""


@dataclass(frozen=True)
class Known:
    """As of one visit."""

    pins: dict[str, str] = field(default_factory=dict)
    """By token."""
    chains: dict[str, list[bytes]] = field(default_factory=dict)
    """By key: its certificate and those over it, in DER."""


def learned(machine: str, nodes: list[str], keys: dict[str, str]) -> Known:
    """From the first node that answers. `keys`: by label its token. Raises AbsentError."""
    said = []
    for node in nodes:
        try:
            return _from(node, machine, keys)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            said.append(f"{node}: {error or type(error).__name__}")
    raise AbsentError(f"the secret store tells no PIN: {'; '.join(said)}")


def _from(node: str, machine: str, keys: dict[str, str]) -> Known:
    context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    connection = http.client.HTTPSConnection(node, PORT, context=context, timeout=PATIENCE)
    try:
        login = _answer(connection, "POST", "auth/cert/login", body=json.dumps({"name": f"signer-{machine}"}))
        token = {"X-Vault-Token": login["auth"]["client_token"]}
        pins = {one: _secret(connection, f"hsm/{machine}/{one}", token)["pin"] for one in sorted(set(keys.values()))}
        kept = {label: _secret(connection, f"signing/{of}/{label}", token) for label, of in keys.items()}
    finally:
        connection.close()
    return Known(pins, {label: _chain(one["chain"]) for label, one in kept.items() if "chain" in one})


def _secret(connection: http.client.HTTPSConnection, path: str, token: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = _answer(connection, "GET", f"secret/data/{path}", headers=token)["data"]["data"]
    return found


def _answer(connection: http.client.HTTPSConnection, method: str, path: str, **given: Any) -> dict[str, Any]:
    connection.request(method, f"/v1/{path}", **given)
    response = connection.getresponse()
    text = response.read()
    if response.status != http.client.OK:
        raise OSError(f"{path}: {response.status} {response.reason}")
    answer: dict[str, Any] = json.loads(text)
    return answer


def _chain(pem: str) -> list[bytes]:
    return [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(pem.encode())]
