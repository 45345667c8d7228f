"""What machines renew: the site's secret store signs it, and until it can the authority that they began with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from issuing import Authority, RefusedError, audit, checked
from secret_store import AbsentError, of_any


@dataclass(frozen=True)
class Renewals:
    """The names are judged here; the store signs none but those of the site's machines, and its key never leaves it."""

    authority: Authority
    store: dict[str, Any]
    """`nodes`, by address; `way_in`, by which it knows this machine; `role`, the path at which it signs."""
    taken_over: Path
    """There once the store has signed: from then on the authority's own key signs no renewal."""

    def issue(self, request: dict[str, str], names: Sequence[str], now: datetime) -> dict[str, str]:
        """As `Authority.issue`. Raises RefusedError."""
        if not self.store["nodes"]:
            return self.authority.issue(request, names, now)
        checked(request, names)
        try:
            signed = of_any(
                self.store["nodes"],
                self.store["way_in"],
                lambda asking: asking.signed(self.store["role"], request["csr"]),
            )
        except AbsentError as error:
            if self.taken_over.exists():
                raise RefusedError(f"{error}; wanted its signature, as it has signed before") from None
            return self.authority.issue(request, names, now)
        self.taken_over.touch()
        leaf = x509.load_pem_x509_certificate(signed["certificate"].encode())
        until = leaf.not_valid_after_utc
        audit("issued", kind="x509", serial=f"{leaf.serial_number:x}", names=",".join(names), until=until, by="store")
        chain = "".join(f"{signed[one].strip()}\n" for one in ("certificate", "issuing_ca"))
        return {"certificate": chain, "ssh": self.authority.host_certificate(request["ssh"], names, now)}
