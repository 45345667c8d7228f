"""The kind `qhs:dns:Record` at an authority that really runs; what stands in for ssh enters its namespace instead."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi.provider.experimental import provider as api

from stacks.provider.__main__ import KINDS
from stacks.provider.base import QhsProvider
from stacks.provider.record.client import NamesError, Reading
from stacks.provider.record.handler import RecordHandler
from stacks.provider.record.spec import absolute
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.values import marshalled, plain
from tests.kernel.authority import MACHINE, Authority, stand_in_for_ssh

DOMAIN = "qhdc.qhs.internal"
NAME = f"thu.{DOMAIN}"
STACK = "urn:pulumi:twin.qhdc.network::qhs::"
URN = f"{STACK}qhs:network:Site$qhs:dns:ServiceNames$qhs:dns:Record::thu"
MOVED = f"{STACK}qhs:network:Site$qhs:dns:Record::thu"
FOREIGN = URN.replace("qhdc.network", "ndc.network")
GIVEN = {
    "name": NAME, "domain": DOMAIN, "ttl": 60, "addresses": ["192.0.2.1", "2001:db8::1"],
    "owner": "vpqh-cntt", "level": 4, "serves": ["S-018"],
}  # fmt: skip
KEY, OTHER = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    here = Authority(tmp_path_factory.mktemp("authority"), KEY)
    yield here
    here.end()


@pytest.fixture
def authority(shared: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """With nothing at the name."""
    places = tmp_path / "places.json"
    places.write_text(json.dumps({MACHINE: shared.process}))
    monkeypatch.setenv("PATH", f"{stand_in_for_ssh(tmp_path / 'bin', places)}:{os.environ['PATH']}")
    yield shared
    shared.by_hand(KEY, f"delete {NAME}.", f"delete _qhs.{NAME}.", f"delete khac.{DOMAIN}.")


@pytest.fixture
def settings(tmp_path: Path, authority: Authority) -> Settings:
    config, access, secret = (tmp_path / name for name in ("config", "access.json", "key"))
    config.write_text(f"Host {MACHINE}\n")
    secret.write_text(KEY)
    access.write_text(json.dumps({"key": "qhs-update", "secret": str(secret), "authorities": {DOMAIN: MACHINE}}))
    return Settings(config, access)


@pytest.fixture
def provider(settings: Settings) -> QhsProvider:
    own = QhsProvider(KINDS)
    given = {"sshConfig": str(settings.ssh_config), "namesAccess": str(settings.names_access)}
    asyncio.run(own.configure(api.ConfigureRequest({}, marshalled(given), True, True)))
    return own


def create(provider: QhsProvider, urn: str = URN, **change: Any) -> dict[str, Any]:
    """Returns the state that the engine would keep."""
    inputs = marshalled(GIVEN | change)
    return plain(asyncio.run(provider.create(api.CreateRequest(urn, inputs, 0, preview=False))).properties or {})


def read(provider: QhsProvider, state: dict[str, Any], urn: str = URN) -> dict[str, Any]:
    request = api.ReadRequest(urn, NAME, marshalled(state), marshalled(GIVEN))
    return plain(asyncio.run(provider.read(request)).properties or {})


def delete(provider: QhsProvider, state: dict[str, Any], urn: str = URN) -> None:
    asyncio.run(provider.delete(api.DeleteRequest(urn, NAME, marshalled(state), 0)))


def diff(provider: QhsProvider, state: dict[str, Any]) -> list[str]:
    request = api.DiffRequest(URN, NAME, marshalled(state), marshalled(GIVEN), [])
    return sorted(asyncio.run(provider.diff(request)).detailed_diff)


def test_what_was_written_is_answered_reads_back_and_is_taken_away(provider: QhsProvider, authority: Authority) -> None:
    state = create(provider)
    assert authority.dig("+short", NAME, "A", NAME, "AAAA").split() == GIVEN["addresses"]
    assert read(provider, state) == state
    assert diff(provider, read(provider, state)) == []
    delete(provider, state)
    assert "NXDOMAIN" in authority.dig(NAME)
    assert "NXDOMAIN" in authority.dig(f"_qhs.{NAME}", "TXT")
    assert read(provider, state) == {}
    delete(provider, state)


def test_a_write_that_the_engine_did_not_live_to_note_is_simply_done_again(
    provider: QhsProvider, authority: Authority
) -> None:
    create(provider, addresses=["192.0.2.9"])
    assert create(provider)["addresses"] == GIVEN["addresses"]
    assert authority.dig("+short", NAME, "A", NAME, "AAAA").split() == GIVEN["addresses"]


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ([f"delete {NAME}. A", f"add {NAME}. 60 A 192.0.2.66"], ["addresses"]),
        ([f"delete {NAME}. AAAA"], ["addresses"]),
        ([f"delete {NAME}. A", f"add {NAME}. 61 A 192.0.2.1"], ["ttl"]),
        ([f'add {NAME}. 60 TXT "hand"'], ["others"]),
        ([f"delete _qhs.{NAME}."], ["writer"]),
        ([f"delete {NAME}. A", f"delete {NAME}. AAAA", f"add {NAME}. 60 CNAME khac.{DOMAIN}."], ["addresses"]),
    ],
    ids=["address", "family", "ttl", "other-type", "mark", "alias"],
)
def test_what_was_changed_by_hand_is_seen_and_put_right(
    provider: QhsProvider, authority: Authority, change: list[str], seen: list[str]
) -> None:
    state = create(provider)
    authority.by_hand(KEY, *change)
    found = read(provider, state)
    assert diff(provider, found) == seen
    create(provider)
    assert read(provider, found) == state


def test_what_another_stack_or_nobody_known_wrote_is_left_alone(provider: QhsProvider, authority: Authority) -> None:
    state = create(provider, FOREIGN)
    said = f"{NAME}: found 192.0.2.1, 2001:db8::1, written by {FOREIGN.partition('$')[0]}"
    with pytest.raises(ProviderError, match=said):
        create(provider, addresses=["192.0.2.2"])
    delete(provider, state)
    assert authority.dig("+short", NAME, "A").split() == ["192.0.2.1"]
    authority.by_hand(KEY, f"delete _qhs.{NAME}.")
    with pytest.raises(ProviderError, match="written by no resource; wanted a name that is free or of this stack"):
        create(provider, addresses=["192.0.2.2"])
    assert authority.dig("+short", NAME, "A").split() == ["192.0.2.1"]


def test_a_component_that_moved_does_not_take_its_successor_with_it(
    provider: QhsProvider, authority: Authority
) -> None:
    old = create(provider)
    create(provider, MOVED)
    delete(provider, old)
    assert authority.dig("+short", NAME, "A").split() == ["192.0.2.1"]


def test_what_changed_between_being_read_and_being_written_is_not_overwritten(
    provider: QhsProvider, settings: Settings, authority: Authority
) -> None:
    create(provider)
    with RecordHandler(settings)._asking(DOMAIN) as client:
        before = client.read(absolute(DOMAIN), absolute(NAME))
        for at, seen, change in (
            (NAME, before, [f"delete {NAME}. A"]),
            (NAME, before, [f"delete {NAME}.", f"delete _qhs.{NAME}."]),
            (f"khac.{DOMAIN}", Reading(), [f"add khac.{DOMAIN}. 60 A 192.0.2.3"]),
        ):
            authority.by_hand(KEY, *change)
            with pytest.raises(NamesError, match=f"^{at}: found something else than {MACHINE} had"):
                client.remove(absolute(DOMAIN), absolute(at), seen)


def test_list_shows_what_stands_and_whose_it_is(
    provider: QhsProvider, settings: Settings, authority: Authority
) -> None:
    create(provider)
    authority.by_hand(KEY, f"add khac.{DOMAIN}. 60 A 192.0.2.3")
    found = {one.key: (one.urn, one.properties["addresses"]) for one in RecordHandler(settings).list()}
    assert found == {NAME: (URN, GIVEN["addresses"]), f"khac.{DOMAIN}": (None, ["192.0.2.3"])}


def test_records_outlive_the_authority_and_a_connection_that_it_ended_is_opened_anew(
    provider: QhsProvider, authority: Authority
) -> None:
    state = create(provider)
    authority.stop()
    with pytest.raises(ProviderError, match=f"^{MACHINE}, asked about {DOMAIN}: no answer: .*wanted .*Way out"):
        read(provider, state)
    authority.start()
    assert read(provider, state) == state
    authority.stop()
    authority.start()
    assert read(provider, state) == state


@pytest.mark.parametrize(
    ("domain", "key", "said"),
    [
        (DOMAIN, ("qhs-update", OTHER), "BADSIG"),
        (DOMAIN, ("nobody", KEY), "does not take that from this key"),
        ("nowhere.internal", ("qhs-update", KEY), "NOTAUTH|REFUSED"),
        ("hall.qhs.internal", ("qhs-update", KEY), "BADKEY|NOTAUTH|REFUSED|SERVFAIL"),
    ],
    ids=["secret", "key", "no-such-domain", "a-copy"],
)
def test_each_fault_is_one_clear_message(
    settings: Settings, tmp_path: Path, domain: str, key: tuple[str, str], said: str
) -> None:
    name, secret = key
    (tmp_path / "other").write_text(secret)
    access = {"key": name, "secret": str(tmp_path / "other"), "authorities": {domain: MACHINE}}
    (tmp_path / "other.json").write_text(json.dumps(access))
    own = RecordHandler(Settings(settings.ssh_config, tmp_path / "other.json"))
    with pytest.raises(ProviderError, match=said) as caught:
        own.write(URN, GIVEN | {"name": f"thu.{domain}", "domain": domain})
    assert secret not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_clock_that_differs_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    now = __import__("time").time()
    monkeypatch.setattr("time.time", lambda: now + 1000)
    with pytest.raises(ProviderError, match="its clock and ours are more than 300 s apart"):
        RecordHandler(settings).read(NAME, GIVEN)


def test_the_key_is_nowhere_but_in_its_file(provider: QhsProvider) -> None:
    state = create(provider)
    assert KEY not in json.dumps(state)
    assert not any(KEY.encode() in line.read_bytes() for line in Path("/proc").glob("[0-9]*/cmdline") if line.exists())
