"""What a signer learns from its site's secret store, and keeps in memory alone: PINs, and the certificates of keys."""

import sys
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

sys.path.insert(0, "/usr/local/lib/qhs-pki")
from secret_store import AbsentError, Asking, of_any

__all__ = ["AbsentError", "Known", "learned"]


@dataclass(frozen=True)
class Known:
    """As of one visit."""

    pins: dict[str, str] = field(default_factory=dict)
    """By token."""
    chains: dict[str, list[bytes]] = field(default_factory=dict)
    """By key: its certificate and those over it, in DER."""

    @property
    def until(self) -> datetime | None:
        """When the first certificate of a key ends; none is known: None."""
        ends = (x509.load_der_x509_certificate(chain[0]).not_valid_after_utc for chain in self.chains.values())
        return min(ends, default=None)


def learned(machine: str, nodes: list[str], keys: dict[str, str]) -> Known:
    """From the first node that answers. `keys`: by label its token. Raises AbsentError."""

    def known(asking: Asking) -> Known:
        pins = {one: asking.secret(f"hsm/{machine}/{one}")["pin"] for one in sorted(set(keys.values()))}
        kept = {label: asking.secret(f"signing/{of}/{label}") for label, of in keys.items()}
        return Known(pins, {label: _chain(one["chain"]) for label, one in kept.items() if "chain" in one})

    return of_any(nodes, f"signer-{machine}", known)


def _chain(pem: str) -> list[bytes]:
    return [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(pem.encode())]
