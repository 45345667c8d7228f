"""The kinds `qhs:secrets:*`: what they refuse, how a policy is written and read back, what a store's refusal says."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from stacks.provider.base import ProviderError, Settings
from stacks.provider.secret.client import Store, StoreError
from stacks.provider.secret.handlers import AuthHandler, MountHandler, PolicyHandler
from stacks.provider.secret.spec import policy_rules, policy_text, policy_writer

DECLARED = {"site": "qhdc", "owner": "vpqh-attt", "level": 4, "serves": ["S-066"]}
MOUNT = {**DECLARED, "path": "secret", "kind": "kv"}
POLICY = {**DECLARED, "name": "signer-a", "rules": {"secret/data/hsm/a/+": ["read"]}}
AUTH = {**DECLARED, "name": "signer-a", "machine": "qhdc-hsm1", "policies": ["signer-a"], "seconds": 1200}
RULES = {"secret/data/a/+": ["read"], "pki/issue/*": ["create", "update"]}


@pytest.mark.parametrize(
    ("handler", "given", "change", "path"),
    [
        (MountHandler, MOUNT, {"kind": "database"}, "kind"),
        (MountHandler, MOUNT, {"path": "../sys"}, "path"),
        (PolicyHandler, POLICY, {"rules": {'a" {} path "*': ["read"]}}, 'rules.a" {} path "*.[key]'),
        (PolicyHandler, POLICY, {"rules": {"a": []}}, "rules.a"),
        (PolicyHandler, POLICY, {"rules": {"a": ["sudo"]}}, "rules.a.0"),
        (PolicyHandler, POLICY, {"name": "a b"}, "name"),
        (AuthHandler, AUTH, {"policies": []}, "policies"),
        (AuthHandler, AUTH, {"seconds": 0}, "seconds"),
        (AuthHandler, AUTH, {"machine": "*"}, "machine"),
    ],
)
def test_bad_input_is_refused_with_its_place(
    handler: Any, given: dict[str, Any], change: dict[str, Any], path: str
) -> None:
    assert handler(Settings()).check(given).failures == {}
    assert list(handler(Settings()).check(given | change).failures) == [path]


def test_a_policy_reads_back_as_it_was_written() -> None:
    text = policy_text(RULES, "urn:x")
    assert policy_rules(text) == {path: sorted(may) for path, may in RULES.items()}
    assert policy_writer(text) == "urn:x"
    assert policy_writer("") is None


@pytest.mark.parametrize(
    "line",
    [
        'path "secret/*" { capabilities = ["read"] }',
        'path "a" {',
        '  capabilities = ["sudo"]',
        'path "pki/issue/*" { }',
    ],
)
def test_a_line_that_somebody_added_is_seen(line: str) -> None:
    assert policy_rules(f"{policy_text(RULES, 'urn:x')}{line}\n") != policy_rules(policy_text(RULES, "urn:x"))


def test_a_path_that_is_named_twice_is_seen() -> None:
    text = policy_text(RULES, "urn:x")
    again = text.splitlines()[1].replace("create", "delete")
    assert policy_rules(f"{text}{again}\n") != policy_rules(text)


def test_who_is_let_in_nowhere_is_told_what_each_node_said() -> None:
    class Down(requests.Session):
        def __init__(self) -> None:
            super().__init__()
            self.cert = __file__

        def request(self, *_: Any, **__: Any) -> requests.Response:
            raise requests.ConnectionError("secret of the connection")

    with pytest.raises(StoreError) as refused:
        Store("qhdc", ["a", "b"], Down).secret("x")
    said = str(refused.value)
    assert "the secret store of qhdc lets nobody in: a: no connection (ConnectionError); b: no connection" in said
    assert "Way out" in said
    assert "secret of the connection" not in said


def test_without_access_a_write_says_the_way_out(tmp_path: Any) -> None:
    config = tmp_path / "config"
    config.write_text("Host a\n")
    with pytest.raises(ProviderError, match=r"(?s)qhs:trustAccess: found nothing.*wanted.*Way out"):
        PolicyHandler(Settings(config)).write("urn:x", POLICY)


def test_an_engine_is_never_taken_away() -> None:
    with pytest.raises(ProviderError, match="wanted to be kept"):
        MountHandler(Settings()).remove("urn:x", MOUNT)
