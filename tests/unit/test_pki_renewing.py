"""Who signs what a machine renews: the site's secret store, and the authority that it began with until then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import qhs_pki
import renewing
from cryptography import x509
from issuing import Authority, RefusedError, pem
from renewing import Renewals
from secret_store import AbsentError

from tests.unit.test_pki import NAMES, authority, folder, machine

__all__ = ["folder", "machine"]
STORE = {"nodes": ["10.0.0.1"], "way_in": "authority-here", "role": "pki/sign/machines"}


class Store:
    """A site's, as long as `down` says nothing."""

    def __init__(self, own: Authority) -> None:
        self._own, self.down = own, ""

    def of_any(self, nodes: list[str], way_in: str, question: Callable[[Any], Any]) -> Any:
        assert (nodes, way_in) == (STORE["nodes"], STORE["way_in"])
        if self.down:
            raise AbsentError(self.down)
        return question(self)

    def signed(self, at: str, request: str) -> dict[str, str]:
        assert at == STORE["role"]
        csr = x509.load_pem_x509_csr(request.encode())
        leaf = self._own._leaf(csr.public_key(), NAMES, datetime.now(UTC), timedelta(days=7))
        return {"certificate": pem(leaf).strip(), "issuing_ca": pem(self._own.certificate)}


@pytest.fixture
def bootstrap(folder: Path) -> Authority:
    return authority(folder)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Its authority has the same name and another key."""
    found = Store(authority(tmp_path))
    monkeypatch.setattr(renewing, "of_any", found.of_any)
    return found


@pytest.fixture
def renewals(bootstrap: Authority, store: Store, tmp_path: Path) -> Renewals:
    return Renewals(bootstrap, STORE, tmp_path / "taken-over")


def issuer(renewals: Renewals, **request: str) -> x509.Certificate:
    given = qhs_pki.request(NAMES) | request
    answer = renewals.issue(given, NAMES, datetime.now(UTC))
    leaf, above = x509.load_pem_x509_certificates(answer["certificate"].encode())
    leaf.verify_directly_issued_by(above)
    return above


def test_the_store_signs_once_it_can_and_then_nobody_else_does(
    machine: Path, renewals: Renewals, store: Store, bootstrap: Authority
) -> None:
    store.down = "no node of it"
    assert issuer(renewals) == bootstrap.certificate
    store.down = ""
    assert issuer(renewals) == store._own.certificate != bootstrap.certificate
    store.down = "no node of it"
    with pytest.raises(RefusedError, match="no node of it; wanted its signature, as it has signed before"):
        issuer(renewals)


def test_where_a_site_has_no_store_the_authority_of_the_beginning_signs(
    machine: Path, bootstrap: Authority, tmp_path: Path
) -> None:
    alone = Renewals(bootstrap, STORE | {"nodes": []}, tmp_path / "taken-over")
    assert issuer(alone) == bootstrap.certificate


def test_the_names_are_judged_before_the_store_is_asked(machine: Path, renewals: Renewals) -> None:
    with pytest.raises(RefusedError, match="found names"):
        issuer(renewals, csr=qhs_pki.request([NAMES[0], "another"])["csr"])
    assert not renewals.taken_over.exists()
