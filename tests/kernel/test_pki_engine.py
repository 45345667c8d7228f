"""The kinds of a secret store's authority, on a genuine server: its key, what is believed of it, what it signs."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hvac
import pytest
import qhs_pki
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from qhs import image
from qhs.pki import root
from stacks.provider.access import TrustAccess
from stacks.provider.secret.client import Store, StoreError
from stacks.provider.secret.pki import KEPT, PkiAuthorityHandler, PkiRoleHandler
from stacks.provider.settings import ProviderError, Settings
from tests.twin.waiting import await_

DECLARED = {"site": "qhdc", "owner": "vpqh-attt", "level": 4, "serves": ["S-066"]}
AUTHORITY: dict[str, Any] = {**DECLARED, "subject": "QHS machines of qhdc", "certificate": ""}
ROLE: dict[str, Any] = {
    **DECLARED,
    "name": "machines",
    "names": ["*.qhdc.qhs.test", "qhdc-*"],
    "hours": 168,
}
NETWORKS = ["10.0.0.0/8"]
WORD = "of-this-test-alone"


class Direct(Store):
    """The server of this test, which lets in whoever knows its word."""

    def __init__(self, at: str) -> None:
        super().__init__("qhdc", ["here"], lambda: pytest.fail("nobody logs in"))
        self._there = hvac.Client(at, token=WORD)

    def _let_in(self) -> hvac.Client:
        return self._there


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = image.ensure(print).path / "usr/bin/bao"
    words = ["server", "-dev", f"-dev-root-token-id={WORD}", "-dev-no-store-token", f"-dev-listen-address={address}"]
    home = os.environ | {"HOME": str(tmp_path_factory.mktemp("bao"))}
    with subprocess.Popen([program, *words], env=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        client = hvac.Client(f"http://{address}", token=WORD)
        await_(lambda: _serves(client))
        yield f"http://{address}"
        running.terminate()


def _serves(client: hvac.Client) -> bool:
    try:
        return not client.seal_status["sealed"]
    except OSError:
        return False


@pytest.fixture
def store(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """With an engine that has nothing yet; handlers reach it."""
    found = Direct(server)
    found.write("sys/mounts/pki", type="pki")

    @contextmanager
    def direct(*_: object) -> Iterator[Store]:
        yield found

    for kind in (PkiAuthorityHandler, PkiRoleHandler):
        monkeypatch.setattr(kind, "_store", direct)
    yield found
    found.delete("sys/mounts/pki")
    found.forget(KEPT)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root."""
    for path, pem in zip((root.key(tmp_path), root.certificate(tmp_path)), root.made(), strict=True):
        path.write_bytes(pem)
    access = TrustAccess.model_construct(root=root.certificate(tmp_path))
    monkeypatch.setattr(TrustAccess, "read", lambda _: access)
    return tmp_path


def answered(own: Path, request: str) -> dict[str, Any]:
    """As it is declared once the root has signed."""
    return {**AUTHORITY, "certificate": root.sign_authority(own, request, "qhdc", NETWORKS)}


def public(request: str) -> Any:
    return x509.load_pem_x509_csr(request.encode()).public_key()


def test_its_key_is_made_once_and_so_is_its_request(store: Store, own: Path) -> None:
    handler = PkiAuthorityHandler(Settings())
    assert handler.read("", AUTHORITY) is None
    told = handler.write("urn", AUTHORITY)
    assert handler.write("urn", AUTHORITY) == told
    assert handler.read("", AUTHORITY) == (AUTHORITY, told)
    store.forget(KEPT)  # as where a run died before it was kept
    assert public(handler.write("urn", AUTHORITY)["request"]) == public(told["request"])


def test_the_roots_answer_is_believed_and_so_is_its_next_one(store: Store, own: Path) -> None:
    handler = PkiAuthorityHandler(Settings())
    told = handler.write("urn", AUTHORITY)
    for _ in range(2):
        wanted = handler.check(answered(own, told["request"])).inputs
        handler.write("urn", wanted)
        assert handler.read("", wanted) == (wanted, told)


def test_an_answer_of_somebody_else_or_for_another_key_is_refused_and_nothing_installed(
    store: Store, own: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    handler = PkiAuthorityHandler(Settings())
    told = handler.write("urn", AUTHORITY)
    stranger = tmp_path_factory.mktemp("stranger")
    for path, pem in zip((root.key(stranger), root.certificate(stranger)), root.made(), strict=True):
        path.write_bytes(pem)
    with pytest.raises(ProviderError, match="found one of CN=QHS bootstrap root; wanted that of the estate's root"):
        handler.write("urn", answered(stranger, told["request"]))
    with pytest.raises(ProviderError, match="found one of another key"):
        handler.write("urn", answered(own, request(AUTHORITY["subject"], san=False)))
    assert handler.read("", AUTHORITY) == (AUTHORITY, told)


def request(*names: str, san: bool = True) -> str:
    """By a new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    )
    if san:
        made = made.add_extension(x509.SubjectAlternativeName([qhs_pki.general(name) for name in names]), False)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def test_it_signs_the_names_that_are_declared_and_no_other(store: Store, own: Path) -> None:
    handler = PkiAuthorityHandler(Settings())
    handler.write("urn", answered(own, handler.write("urn", AUTHORITY)["request"]))
    PkiRoleHandler(Settings()).write("urn", ROLE)
    names = ["qhdc-app1", "qhdc-app1.qhs.test", "portal.qhdc.qhs.test", "10.1.2.3"]
    signed = store.write("pki/sign/machines", csr=request(*names))
    leaf, above = (x509.load_pem_x509_certificate(signed[one].encode()) for one in ("certificate", "issuing_ca"))
    leaf.verify_directly_issued_by(above)
    assert set(qhs_pki.names_of(leaf)) == set(names)
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    for other in (["ndc-db1"], ["qhdc-app1", "portal.ndc.qhs.test"], ["portal.example"], ["*.qhdc.qhs.test"]):
        with pytest.raises(StoreError, match="not allowed by this role"):
            store.write("pki/sign/machines", csr=request(*other))


def test_a_role_that_somebody_widened_is_seen_and_put_right(store: Store) -> None:
    handler = PkiRoleHandler(Settings())
    handler.write("urn", ROLE)
    assert handler.read("", ROLE) == (ROLE, {"odd": []})
    there = store.read("pki/roles/machines") or {}
    store.write("pki/roles/machines", **there | {"allow_any_name": True, "allowed_domains": ["qhs.test"], "ttl": 60})
    wide = handler.read("", ROLE)
    assert wide == ({**ROLE, "names": ["qhs.test"]}, {"odd": ["allow_any_name", "ttl"]})
    handler.write("urn", ROLE)
    assert handler.read("", ROLE) == (ROLE, {"odd": []})
    handler.remove("urn", ROLE)
    assert handler.read("", ROLE) is None
