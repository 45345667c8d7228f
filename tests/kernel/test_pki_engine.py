"""The kinds of a secret store's authorities, on a genuine server: its key, what is believed of it, what it signs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import qhs_pki
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qhs.pki import root
from stacks.model import certificates, load
from stacks.provider.access import TrustAccess
from stacks.provider.secret.client import Store, StoreError
from stacks.provider.secret.clients import ClientAuthorityHandler, ClientRoleHandler
from stacks.provider.secret.pki import KEPT, PkiAuthorityHandler, PkiRoleHandler
from stacks.provider.settings import ProviderError, Settings
from tests.kernel.secret_engine import Direct, serving

DECLARED = {"site": "qhdc", "owner": "vpqh-attt", "level": 4, "serves": ["S-066"]}
AUTHORITY: dict[str, Any] = {**DECLARED, "subject": "QHS machines of qhdc", "certificate": ""}
ROLE: dict[str, Any] = {
    **DECLARED,
    "name": "machines",
    "names": ["*.qhdc.qhs.test", "qhdc-*"],
    "addresses": True,
    "hours": 168,
}
APPLICATION: dict[str, Any] = {
    **DECLARED,
    "name": "application-mail",
    "names": ["mail.apps.qhdc.qhs.test"],
    "hours": 72,
}
CLIENTS: dict[str, Any] = {**DECLARED, "subject": "QHS clients of the cluster of qhdc"}
NODE: dict[str, Any] = {
    **DECLARED,
    "name": "node",
    "user": "system:node:qhdc-app1",
    "group": "system:nodes",
    "host": "",
    "hours": 168,
}
ANSWERS: dict[str, Any] = {
    **DECLARED,
    "name": "metrics-server",
    "user": "system:metrics-server",
    "group": "",
    "host": "metrics-server.kube-system.svc",
    "hours": 168,
}
ENGINES = ("pki", "kubernetes")
NETWORKS = ["10.0.0.0/8"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("bao")) as address:
        yield address


@pytest.fixture
def store(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """With an engine that has nothing yet; handlers reach it."""
    found = Direct(server)
    for engine in ENGINES:
        found.write(f"sys/mounts/{engine}", type="pki")

    @contextmanager
    def direct(*_: object) -> Iterator[Store]:
        yield found

    for kind in (PkiAuthorityHandler, PkiRoleHandler, ClientAuthorityHandler, ClientRoleHandler):
        monkeypatch.setattr(kind, "_store", direct)
    yield found
    for engine in ENGINES:
        found.delete(f"sys/mounts/{engine}")
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


def test_an_application_is_signed_no_address(store: Store, own: Path) -> None:
    """It could stand for another's, such as that of the API of its cluster."""
    handler, role = PkiAuthorityHandler(Settings()), PkiRoleHandler(Settings())
    handler.write("urn", answered(own, handler.write("urn", AUTHORITY)["request"]))
    declared = role.check(APPLICATION).inputs
    role.write("urn", declared)
    assert role.read("", declared) == (declared, {"odd": []})
    (name,) = APPLICATION["names"]
    assert store.write("pki/sign/application-mail", csr=request(name))["certificate"]
    with pytest.raises(StoreError, match="IP Subject Alternative Names are not allowed in this role"):
        store.write("pki/sign/application-mail", csr=request(name, "10.1.2.3"))


@pytest.mark.parametrize("machine", ["qhdc-app1", "qhdc-edge1"])
def test_it_signs_all_names_of_a_machine_that_people_come_to_applications_by(
    store: Store, own: Path, machine: str
) -> None:
    estate = load("twin")
    handler = PkiAuthorityHandler(Settings())
    handler.write("urn", answered(own, handler.write("urn", AUTHORITY)["request"]))
    PkiRoleHandler(Settings()).write("urn", {**ROLE, "names": certificates.patterns(estate, "qhdc")})
    names = certificates.names(estate, estate.machines[machine])
    assert "cong-thong-tin.apps.qhdc.qhs.internal" in names
    signed = store.write("pki/sign/machines", csr=request(*names))["certificate"]
    assert set(qhs_pki.names_of(x509.load_pem_x509_certificate(signed.encode()))) == set(names)


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


def test_an_authority_for_clients_is_made_once_and_stands_under_nobody(store: Store) -> None:
    handler = ClientAuthorityHandler(Settings())
    assert handler.read("", CLIENTS) is None
    first, second = (handler.write("urn", CLIENTS) for _ in range(2))
    assert first == second
    assert handler.read("", CLIENTS) == (CLIENTS, first)
    (only,) = store.names("kubernetes/issuers")
    made = x509.load_pem_x509_certificate((store.read(f"kubernetes/issuer/{only}") or {})["certificate"].encode())
    assert x509.load_pem_x509_certificate(first["certificate"].encode()) == made
    assert made.issuer == made.subject
    assert (made.not_valid_after_utc - made.not_valid_before_utc).days > 3600
    with pytest.raises(ProviderError, match="Way out"):
        handler.remove("urn", CLIENTS)


def test_a_client_has_its_own_name_and_group_whatever_it_asks_for(store: Store) -> None:
    ClientAuthorityHandler(Settings()).write("urn", CLIENTS)
    ClientRoleHandler(Settings()).write("urn", NODE)
    key = ec.generate_private_key(ec.SECP256R1())

    def asked(user: str, group: str) -> x509.Certificate:
        name = [(NameOID.COMMON_NAME, user), (NameOID.ORGANIZATION_NAME, group)]
        subject = x509.Name([x509.NameAttribute(*one) for one in name])
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        answer = store.write("kubernetes/sign/node", csr=csr.public_bytes(Encoding.PEM).decode())
        return x509.load_pem_x509_certificate(answer["certificate"].encode())

    mine = asked(NODE["user"], "system:masters")
    assert mine.subject.rfc4514_string() == "CN=system:node:qhdc-app1,O=system:nodes"
    usage = mine.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    for other in ("system:node:qhdc-app2", "operator", "system:node:qhdc-app1:more"):
        with pytest.raises(StoreError, match="not allowed by this role"):
            asked(other, "system:nodes")


def test_a_clients_role_that_somebody_widened_is_seen_and_put_right(store: Store) -> None:
    handler = ClientRoleHandler(Settings())
    handler.write("urn", NODE)
    assert handler.read("", NODE) == (NODE, {"odd": []})
    there = store.read("kubernetes/roles/node") or {}
    store.write("kubernetes/roles/node", **there | {"organization": ["system:masters"], "server_flag": True})
    assert handler.read("", NODE) == ({**NODE, "group": "system:masters"}, {"odd": ["server_flag"]})
    handler.remove("urn", NODE)
    assert handler.read("", NODE) is None


def test_a_client_that_also_answers_does_so_by_its_own_host_name_alone(store: Store) -> None:
    ClientAuthorityHandler(Settings()).write("urn", CLIENTS)
    handler = ClientRoleHandler(Settings())
    handler.write("urn", ANSWERS)
    assert handler.read("", ANSWERS) == (ANSWERS, {"odd": []})
    key = ec.generate_private_key(ec.SECP256R1())

    def asked(*names: x509.GeneralName) -> x509.Certificate:
        csr = x509.CertificateSigningRequestBuilder()
        csr = csr.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ANSWERS["user"])]))
        csr = csr.add_extension(x509.SubjectAlternativeName(names), critical=False)
        pem = csr.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
        return x509.load_pem_x509_certificate(
            store.write("kubernetes/sign/metrics-server", csr=pem)["certificate"].encode()
        )

    mine = asked(x509.DNSName(ANSWERS["host"]))
    assert mine.subject.rfc4514_string() == f"CN={ANSWERS['user']}"
    names = mine.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName(ANSWERS["host"])]
    usage = mine.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    for other in (
        x509.DNSName("kubernetes.default.svc"),
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.RFC822Name("a@b.c"),
    ):
        with pytest.raises(StoreError):
            asked(x509.DNSName(ANSWERS["host"]), other)
