"""The kind `qhs:dns:Record`: what it refuses, how it normalises, which differences a preview shows."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from pulumi.provider.experimental import provider as api

from qhs import names_access
from qhs.twin.names import Twin
from stacks.model import load
from stacks.provider.__main__ import KINDS
from stacks.provider.base import QhsProvider
from stacks.provider.record.access import Access
from stacks.provider.record.handler import RecordHandler
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.values import marshalled

URN = "urn:pulumi:twin.qhdc.network::qhs::qhs:network:Site$qhs:dns:ServiceNames$qhs:dns:Record::thu.qhdc"
NAME = "thu.qhdc.qhs.internal"
GIVEN = {
    "name": NAME, "domain": "qhdc.qhs.internal", "ttl": 60, "addresses": ["192.0.2.1", "2001:db8::1"],
    "owner": "vpqh-cntt", "level": 4, "serves": ["S-018"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither check nor diff connects to anything."""

    def refuse(*_: object) -> None:
        raise AssertionError("connects")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("subprocess.Popen", refuse)


def check(**change: Any) -> tuple[dict[str, Any], dict[str, str]]:
    found = RecordHandler(Settings()).check(GIVEN | change)
    return found.inputs, found.failures


def diff(**change: Any) -> api.DiffResponse:
    state = GIVEN | {"writer": URN, "others": []}
    request = api.DiffRequest(URN, NAME, marshalled(state), marshalled(GIVEN | change), [])
    return asyncio.run(QhsProvider(KINDS).diff(request))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"name": "Thu.QHDC.qhs.internal.", "domain": "qhdc.qhs.internal."},
        {"addresses": ["2001:DB8:0::0001", "192.0.2.1", "2001:db8::1"]},
        {"ttl": 60.0},
    ],
    ids=["as-is", "dots", "addresses", "number"],
)
def test_one_record_has_one_normal_form(change: dict[str, Any]) -> None:
    assert check(**change) == (GIVEN, {})


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"name": "thu.ndc.qhs.internal"}, "", "thu.ndc.qhs.internal is no name below qhdc.qhs.internal"),
        ({"name": "qhdc.qhs.internal"}, "", "is no name below"),
        ({"name": "_qhs.qhdc.qhs.internal"}, "name", "pattern"),
        ({"name": "a b.qhdc.qhs.internal"}, "name", "pattern"),
        ({"name": f"{'a' * 64}.qhdc.qhs.internal"}, "name", "pattern"),
        ({"addresses": []}, "addresses", "at least 1"),
        ({"addresses": ["192.0.2.256"]}, "addresses.0", "IPv4 or IPv6"),
        ({"addresses": ["khac.qhdc.qhs.internal"]}, "addresses.0", "IPv4 or IPv6"),
        ({"addresses": ["fe80::1%eth0"]}, "addresses.0", "no address by which"),
        ({"ttl": 0}, "ttl", "greater than or equal to 1"),
        ({"ttl": 86401}, "ttl", "less than or equal to 86400"),
        ({"extra": 1}, "extra", "not permitted"),
    ],
)
def test_what_cannot_be_right_is_refused_by_its_path(change: dict[str, Any], path: str, said: str) -> None:
    _, failures = check(**change)
    assert list(failures) == [path]
    assert said in failures[path]


def test_nothing_changed_is_no_difference() -> None:
    assert diff().changes is False


def test_a_change_is_shown_by_its_path_and_another_name_is_another_record() -> None:
    found = diff(addresses=["192.0.2.2"], ttl=5)
    assert (sorted(found.detailed_diff), found.replaces) == (["addresses", "ttl"], [])
    assert diff(name="khac.qhdc.qhs.internal").replaces == ["name"]


def test_what_qhs_writes_the_plugin_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Twin, "state", tmp_path)
    path = names_access.write(Twin("t"), load("twin"))
    access = Access.read(path)
    assert access.authorities == {f"{site}.qhs.internal": f"{site}-infra1" for site in ("qhdc", "ndc", "hall")}
    assert len(access.signature().secret) == 32
    assert (tmp_path / "secrets" / "names-update").read_text().strip() not in path.read_text()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (None, r"qhs:namesAccess: found nothing: .*wanted .*Way out: `qhs up`"),
        ("{}", r"qhs:namesAccess: found .*access.json: .*wanted .*Way out"),
        (json.dumps({"key": "k", "secret": "/nowhere", "authorities": {"qhdc.qhs.internal": "x"}}), "/nowhere: found"),
        (json.dumps({"key": "k", "secret": "/nowhere", "authorities": {}}), "no authority takes .*Way out"),
    ],
    ids=["none", "empty", "no-key", "no-authority"],
)
def test_settings_that_cannot_be_right_are_named(tmp_path: Path, file: str | None, said: str) -> None:
    path, config = tmp_path / "access.json", tmp_path / "config"
    config.write_text("Host x\n")
    if file is not None:
        path.write_text(file)
    with pytest.raises(ProviderError, match=f"(?s){said}"):
        RecordHandler(Settings(config, path if file is not None else None)).read(NAME, GIVEN)
