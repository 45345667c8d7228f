"""The kinds `qhs:secrets:*`: what they refuse, how a policy is written and read back, what a store's refusal says."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from stacks.provider.secret.client import Store, StoreError
from stacks.provider.secret.handlers import AuthHandler, MountHandler, PolicyHandler, TransitKeyHandler
from stacks.provider.secret.spec import policy_rules, policy_text, policy_writer
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.storage.handlers import BucketHandler, IdentityHandler

DECLARED = {"site": "qhdc", "owner": "vpqh-attt", "level": 4, "serves": ["S-066"]}
MOUNT = {**DECLARED, "path": "secret", "kind": "kv"}
POLICY = {**DECLARED, "name": "signer-a", "rules": {"secret/data/hsm/a/+": ["read"]}}
AUTH = {**DECLARED, "name": "signer-a", "machine": "qhdc-hsm1", "policies": ["signer-a"], "seconds": 1200}
IDENTITY = {**DECLARED, "name": "pulumi", "rights": ["Read:states", "Admin"]}
BUCKET = {**DECLARED, "name": "states", "versioned": True, "archive_years": 0}
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
        (TransitKeyHandler, {**DECLARED, "name": "pulumi"}, {"name": "../keys"}, "name"),
        (IdentityHandler, IDENTITY, {"rights": []}, "rights"),
        (IdentityHandler, IDENTITY, {"rights": ["Read"]}, "rights.0"),
        (IdentityHandler, IDENTITY, {"rights": ["Write:*"]}, "rights.0"),
        (IdentityHandler, IDENTITY, {"name": "a/b"}, "name"),
        (BucketHandler, BUCKET, {"name": "a"}, "name"),
        (BucketHandler, BUCKET, {"versioned": "often"}, "versioned"),
        (BucketHandler, BUCKET, {"archive_years": 101}, "archive_years"),
        (BucketHandler, BUCKET, {"archive_years": 1, "versioned": False}, ""),
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


class Nodes(requests.Session):
    """Let in, and then each answer in turn."""

    def __init__(self, answers: list[tuple[int, dict[str, Any]]]) -> None:
        super().__init__()
        self.cert, self._answers = __file__, answers

    def request(self, method: Any, url: Any, *_: Any, **__: Any) -> requests.Response:
        answer = requests.Response()
        code, body = (200, {"auth": {"client_token": "t"}}) if str(url).endswith("login") else self._answers.pop(0)
        answer.status_code, answer._content, answer.url = code, json.dumps(body).encode(), str(url)
        answer.headers["Content-Type"] = "application/json"
        return answer


ELECTING = (500, {"errors": ["local node not active but active cluster node not found"]})
FOUND = (200, {"data": {"data": {"key": "k"}}})


def test_while_nodes_elect_one_that_leads_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    answers = [ELECTING, ELECTING, ELECTING, FOUND]
    assert Store("qhdc", ["a"], lambda: Nodes(answers)).secret("x") == {"key": "k"}
    assert answers == []


def test_while_nodes_take_one_that_is_gone_for_their_leader_they_are_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    gone = ["https://10.0.0.1:8200/v1/auth/cert/login"] * 2

    class SentOn(Nodes):
        def request(self, method: Any, url: Any, *_: Any, **__: Any) -> requests.Response:
            if gone:
                raise requests.ConnectionError(request=requests.Request("POST", gone.pop()))
            return super().request(method, url)

    assert Store("qhdc", ["a"], lambda: SentOn([FOUND])).secret("x") == {"key": "k"}
    gone.append("https://a:8200/v1/auth/cert/login")
    with pytest.raises(StoreError, match="lets nobody in: a: no connection"):
        Store("qhdc", ["a"], lambda: SentOn([FOUND])).secret("x")


def test_nodes_that_elect_none_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stacks.provider.secret.client.ELECTS", 0)
    with pytest.raises(StoreError, match="active cluster node not found"):
        Store("qhdc", ["a"], lambda: Nodes([ELECTING])).secret("x")


def test_what_a_store_refuses_is_asked_once_and_a_node_that_forgot_us_twice() -> None:
    answers = [(400, {"errors": ["no"]}), FOUND]
    with pytest.raises(StoreError, match="found no; wanted a request that it takes"):
        Store("qhdc", ["a"], lambda: Nodes(answers)).secret("x")
    assert answers == [FOUND]
    forgotten = (403, {"errors": ["permission denied"]})
    once, twice = [forgotten, FOUND], [forgotten, forgotten, FOUND]
    assert Store("qhdc", ["a"], lambda: Nodes(once)).secret("x") == {"key": "k"}
    with pytest.raises(StoreError, match="permission denied"):
        Store("qhdc", ["a"], lambda: Nodes(twice)).secret("x")


def test_without_access_a_write_says_the_way_out(tmp_path: Any) -> None:
    config = tmp_path / "config"
    config.write_text("Host a\n")
    with pytest.raises(ProviderError, match=r"(?s)qhs:trustAccess: found nothing.*wanted.*Way out"):
        PolicyHandler(Settings(config)).write("urn:x", POLICY)


@pytest.mark.parametrize(
    ("handler", "given"),
    [
        (MountHandler, MOUNT),
        (TransitKeyHandler, {**DECLARED, "name": "pulumi"}),
    ],
)
def test_what_others_depend_on_is_never_taken_away(handler: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ProviderError, match="wanted to be kept"):
        handler(Settings()).remove("urn:x", given)
