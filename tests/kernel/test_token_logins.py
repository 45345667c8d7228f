"""Who gets into a secret store by a token of a cluster, on a genuine server."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hvac
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hvac.exceptions import InvalidRequest

from stacks.model.kubernetes import ACCOUNTS
from stacks.provider.access import TrustAccess
from stacks.provider.secret.client import Store
from stacks.provider.secret.handlers import PolicyHandler
from stacks.provider.secret.tokens import TokenIssuerHandler, TokenRoleHandler
from stacks.provider.settings import ProviderError, Settings
from tests.kernel.secret_engine import Direct, serving

DECLARED = {"site": "qhdc", "owner": "vpqh-attt", "level": 4, "serves": ["S-066"]}
ISSUER: dict[str, Any] = {**DECLARED, "issuer": "https://kube-api.qhdc.qhs.test"}
ACCOUNT = "system:serviceaccount:cu-tri:parts"
ROLE: dict[str, Any] = {
    **DECLARED,
    "name": "cu-tri",
    "account": ACCOUNT,
    "audience": "secrets.qhdc.qhs.test",
    "policies": ["application-cu-tri"],
    "seconds": 1200,
}
POLICY: dict[str, Any] = {
    **DECLARED,
    "name": "application-cu-tri",
    "rules": {"secret/data/databases/cu-tri": ["read"]},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("bao")) as address:
        yield address


@pytest.fixture
def store(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """With nothing in it but the passwords of two databases; handlers reach it."""
    found = Direct(server)
    for name in ("cu-tri", "mail"):
        found.keep(f"databases/{name}", {"password": name})

    @contextmanager
    def direct(*_: object) -> Iterator[Store]:
        yield found

    for kind in (TokenIssuerHandler, TokenRoleHandler, PolicyHandler):
        monkeypatch.setattr(kind, "_store", direct)
    (tmp_path / "root.crt").write_text("the root")
    access = TrustAccess.model_construct(root=tmp_path / "root.crt", stores={"qhdc": {}})
    monkeypatch.setattr(TrustAccess, "read", lambda _: access)
    yield found
    found.delete("sys/auth/jwt")
    found.forget(ACCOUNTS)


@pytest.fixture
def key(store: Store) -> ec.EllipticCurvePrivateKey:
    """What the cluster signs by, where its control planes have put it."""
    made = ec.generate_private_key(ec.SECP256R1())
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    store.keep(ACCOUNTS, {"key": pem})
    return made


def token(key: ec.EllipticCurvePrivateKey, **changed: Any) -> str:
    """As an API makes one for a pod."""
    claims = {
        "iss": ISSUER["issuer"],
        "sub": ACCOUNT,
        "aud": [ROLE["audience"]],
        "iat": int(time.time()),
        "nbf": int(time.time()),
        "exp": int(time.time()) + 600,
        **changed,
    }
    parts = [_text(json.dumps(one).encode()) for one in ({"alg": "ES256", "kid": "of-a-test"}, claims)]
    signature = decode_dss_signature(key.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256())))
    return ".".join([*parts, _text(b"".join(one.to_bytes(32) for one in signature))])


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def enter(server: str, given: str) -> hvac.Client:
    client = hvac.Client(server)
    client.auth.jwt.jwt_login(role="cu-tri", jwt=given)
    return client


@pytest.fixture
def declared(key: ec.EllipticCurvePrivateKey) -> ec.EllipticCurvePrivateKey:
    PolicyHandler(Settings()).write("urn", POLICY)
    TokenIssuerHandler(Settings()).write("urn", ISSUER)
    TokenRoleHandler(Settings()).write("urn", ROLE)
    return key


def test_what_is_declared_is_what_is_there(declared: ec.EllipticCurvePrivateKey) -> None:
    issuer, role = TokenIssuerHandler(Settings()), TokenRoleHandler(Settings())
    assert issuer.read("", ISSUER) == (ISSUER, {"verifies": "the cluster's", "root": "the root"})
    assert role.read("", ROLE) == (ROLE, {"odd": []})
    assert [one.key for one in issuer.list()] == [f"qhdc/{ISSUER['issuer']}"]
    assert [one.key for one in role.list()] == ["qhdc/cu-tri"]
    issuer.write("urn", ISSUER)  # once more: its roles stay
    assert role.read("", ROLE) == (ROLE, {"odd": []})


def test_a_part_of_an_application_reads_its_own_and_nothing_else(
    server: str, declared: ec.EllipticCurvePrivateKey
) -> None:
    client = enter(server, token(declared))
    assert client.read("secret/data/databases/cu-tri")["data"]["data"] == {"password": "cu-tri"}
    for path in ("secret/data/databases/mail", f"secret/data/{ACCOUNTS}", "auth/token/lookup-self"):
        with pytest.raises(hvac.exceptions.Forbidden):
            client.read(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": "system:serviceaccount:mail:parts"},
        {"sub": "system:serviceaccount:cu-tri:default"},
        {"aud": ["https://kube-api.qhdc.qhs.test"]},
        {"iss": "https://kube-api.ndc.qhs.test"},
        {"exp": int(time.time()) - 600, "nbf": int(time.time()) - 1200, "iat": int(time.time()) - 1200},
    ],
    ids=["another application", "another account", "for another", "of another cluster", "over"],
)
def test_nobody_else_gets_in(server: str, declared: ec.EllipticCurvePrivateKey, changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        enter(server, token(declared, **changed))


def test_what_another_key_signed_lets_nobody_in(server: str, declared: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(InvalidRequest):
        enter(server, token(ec.generate_private_key(ec.SECP256R1())))


def test_what_somebody_changed_is_told(store: Store, declared: ec.EllipticCurvePrivateKey) -> None:
    issuer, role = TokenIssuerHandler(Settings()), TokenRoleHandler(Settings())
    there = store.read("auth/jwt/role/cu-tri") or {}
    store.write("auth/jwt/role/cu-tri", **{**there, "bound_subject": "", "token_no_default_policy": False})
    inputs, outputs = role.read("", ROLE) or ({}, {})
    assert (inputs["account"], outputs["odd"]) == ("", ["token_no_default_policy"])
    made = ec.generate_private_key(ec.SECP256R1())
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    store.keep(ACCOUNTS, {"key": pem})
    assert (issuer.read("", ISSUER) or ({}, {}))[1]["verifies"] == "another"


def test_an_issuer_that_has_another_name_now_takes_no_role_with_it(
    store: Store, declared: ec.EllipticCurvePrivateKey
) -> None:
    """As the engine does it: the new one is written, then the old one removed."""
    issuer, role = TokenIssuerHandler(Settings()), TokenRoleHandler(Settings())
    renamed = ISSUER | {"issuer": "https://api.qhdc.qhs.test"}
    issuer.write("urn", renamed)
    issuer.remove("urn", ISSUER)
    assert (issuer.read("", renamed) or ({}, {}))[0] == renamed
    assert role.read("", ROLE) == (ROLE, {"odd": []})
    issuer.remove("urn", renamed)
    assert issuer.read("", renamed) is None


def test_a_cluster_that_signs_nothing_yet_is_named(store: Store) -> None:
    with pytest.raises(ProviderError, match="qhdc: found no kubernetes/service-accounts in its secret store"):
        TokenIssuerHandler(Settings()).write("urn", ISSUER)
    assert TokenIssuerHandler(Settings()).read("", ISSUER) is None
