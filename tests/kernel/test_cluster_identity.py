"""The certificates of a cluster's parts, from a genuine secret store: made, renewed, and shared by control planes."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import qhs_kubernetes
import secret_store
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from tests.kernel.secret_engine import WORD, Direct, serving

PARTS = [
    {"name": "kube-scheduler", "user": "system:kube-scheduler", "host": ""},
    {"name": "metrics-server", "user": "system:metrics-server", "host": "metrics-server.kube-system.svc"},
]
HOSTS = ExtensionOID.SUBJECT_ALTERNATIVE_NAME
WANTED = {"engine": "kubernetes", "parts": PARTS, "shared": "kubernetes"}


class Asking(secret_store.Asking):
    """A machine that is let in already."""

    def __init__(self, at: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(at).netloc)
        self._token = {"X-Vault-Token": WORD}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("bao")) as address:
        yield address


@pytest.fixture
def store(server: str) -> Iterator[Direct]:
    """With an authority, and what it signs for each part."""
    found = Direct(server)
    begun(found)
    yield found
    found.delete("sys/mounts/kubernetes")
    for path in ("service-accounts", "encryption"):
        found.forget(f"kubernetes/{path}")


def begun(found: Direct) -> None:
    found.write("sys/mounts/kubernetes", type="pki")
    found.write("kubernetes/root/generate/internal", common_name="clients", ttl="300h")
    for part in PARTS:
        names = [one for one in (part["user"], part["host"]) if one]
        may = {"allowed_domains": names, "allow_bare_domains": True, "enforce_hostnames": False}
        found.write(f"kubernetes/roles/{part['name']}", key_type="ec", key_bits=256, max_ttl="168h", **may)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return became(tmp_path / "one", monkeypatch)


def became(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another machine, with nothing yet."""
    for folder in ("kept", "memory"):
        (home / folder).mkdir(parents=True)
    settings = home / "identity.json"
    settings.write_text(json.dumps(WANTED))
    places: dict[str, Any] = {
        "SETTINGS": settings,
        "KEPT": home / "kept",
        "AUTHORITY": home / "kept/ca.crt",
        "IN_MEMORY": home / "memory",
        "WHOLE": home / "memory/whole",
    }
    for name, value in places.items():
        monkeypatch.setattr(qhs_kubernetes, name, value)
    return home


def content(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_each_part_has_its_own_and_a_second_time_changes_nothing(server: str, store: Direct, machine: Path) -> None:
    qhs_kubernetes.ask(Asking(server), WANTED)
    before = content(machine)
    for part in PARTS:
        pem = before[f"kept/{part['name']}.pem"]
        made = x509.load_pem_x509_certificate(pem)
        assert made.subject.rfc4514_string() == f"CN={part['user']}"
        hosts = [one.value.get_values_for_type(x509.DNSName) for one in made.extensions if one.oid == HOSTS]
        assert hosts == ([[part["host"]]] if part["host"] else [])
        assert b"PRIVATE KEY" in pem
    assert {path.stat().st_mode & 0o777 for path in machine.rglob("kept/*")} == {0o600}
    qhs_kubernetes.ask(Asking(server), WANTED)
    assert content(machine) == before


def test_what_is_old_is_certified_anew_with_another_key(
    server: str, store: Direct, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qhs_kubernetes.ask(Asking(server), WANTED)
    before = content(machine)
    monkeypatch.setattr(qhs_kubernetes, "RENEW_AT", 0)
    qhs_kubernetes.ask(Asking(server), WANTED)
    changed = {name for name, what in content(machine).items() if before[name] != what}
    assert changed == {f"kept/{part['name']}.pem" for part in PARTS}


def test_another_authority_certifies_everybody_anew(server: str, store: Direct, machine: Path) -> None:
    qhs_kubernetes.ask(Asking(server), WANTED)
    before = content(machine)
    store.delete("sys/mounts/kubernetes")
    begun(store)
    qhs_kubernetes.ask(Asking(server), WANTED)
    changed = {name for name, what in content(machine).items() if before[name] != what}
    assert changed == {"kept/ca.crt", *(f"kept/{part['name']}.pem" for part in PARTS)}


def test_control_planes_have_the_same_in_common_whoever_made_it(
    server: str, store: Direct, machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qhs_kubernetes.ask(Asking(server), WANTED)
    other = became(tmp_path / "other", monkeypatch)
    qhs_kubernetes.ask(Asking(server), WANTED)
    for name in ("memory/service-accounts.key", "memory/encryption.json"):
        assert content(machine)[name] == content(other)[name]
    with pytest.raises(OSError, match="400"):
        Asking(server).keep_first("kubernetes/encryption", {"keys": []})


def test_a_key_that_is_put_first_encrypts_from_then_on(server: str, store: Direct, machine: Path) -> None:
    qhs_kubernetes.ask(Asking(server), WANTED)
    first = store.secret("kubernetes/encryption") or {}
    store.keep("kubernetes/encryption", {"keys": [{"name": "second", "secret": "c2Vjb25k"}, *first["keys"]]})
    qhs_kubernetes.ask(Asking(server), WANTED)
    (what,) = json.loads(content(machine)["memory/encryption.json"])["resources"]
    assert [one["name"] for one in what["providers"][0]["secretbox"]["keys"]] == ["second", "first"]
    assert what["providers"][1:] == []
