"""A ceremony on the live devices of both centres, over SSH and with the secret stores (T-E04, T-E05, C-HSM-03)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from qhs.hsm.ceremony.script import Script
from qhs.hsm.cli import HsmReport
from qhs.twin.names import Twin
from stacks.provider.secret.client import Store
from stacks.provider.signing.devices import KEK, key_at, pins_at
from tests import ceremonies
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.trust import DEVICES, SITE_OF, SOFTHSM, of_store

pytestmark = pytest.mark.live


@pytest.fixture
def people(tmp_path: Path) -> ceremonies.Keys:
    return ceremonies.keys(tmp_path / "people")


@pytest.fixture
def script(twin: Twin, hosts: Hosts, second_up: WatchedUp, people: ceremonies.Keys, tmp_path: Path) -> Iterator[Script]:
    """The example with witnesses of ours; what it makes is gone after the test."""
    found = Script.read(ceremonies.written(tmp_path, people))
    label = found.ceremony.token
    try:
        yield found
    finally:
        shutil.rmtree(twin.state / "ceremonies", ignore_errors=True)
        hosts.say(f"{SOFTHSM} --delete-token --token {label} || true", SITE_OF)
        for site, machines in DEVICES.items():
            for at in [
                *(pins_at(one, label) for one in machines),
                *(key_at(label, one) for one in (KEK, *found.labels)),
            ]:
                of_store(twin, site, partial(Store.forget, path=at))


def test_from_a_rehearsal_to_a_transcript_that_replays(
    twin: Twin, qhs: Run, script: Script, people: ceremonies.Keys
) -> None:
    def ceremony(*words: str) -> CompletedProcess[str]:
        return qhs("hsm", "ceremony", *words)

    def on_devices() -> dict[str, list[str]]:
        report = HsmReport.model_validate_json(qhs("hsm", "status", "--json").stdout)
        return {one.machine: [it.label for it in one.tokens] for one in report.devices}

    file, before = str(script.source.path), on_devices()
    for name in ("chu-nhiem", "pho-chu-nhiem"):
        assert qhs("approve", "approver", name, "--key", f"{people[name]}.pub").returncode == 0
    rehearsed = ceremony("rehearse", file)
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert on_devices() == before
    approval = qhs("approve", "new", "ceremony", script.subject, "--reason", "thử").stdout.strip()
    assert qhs("approve", "sign", approval, "--as", "chu-nhiem", "--key", str(people["chu-nhiem"])).returncode == 0
    refused = ceremony("run", file)
    assert refused.returncode == 1
    assert "found chu-nhiem who approved; wanted 2" in refused.stderr
    assert on_devices() == before
    key = str(people["pho-chu-nhiem"])
    assert qhs("approve", "sign", approval, "--as", "pho-chu-nhiem", "--key", key).returncode == 0
    done = ceremony("run", file)
    assert done.returncode == 0, done.stderr
    held = on_devices()
    assert held == {one: sorted([*labels, script.ceremony.token]) for one, labels in before.items()}
    for one, site in SITE_OF.items():
        at = pins_at(one, script.ceremony.token)
        assert (of_store(twin, site, partial(Store.secret, path=at)) or {}).keys() == {"so_pin", "pin"}
    again = ceremony("run", file)
    assert again.returncode == 1
    assert "Nothing was changed" in again.stderr
    assert on_devices() == held
    transcript = done.stdout.strip()
    for name in ("attt", "co-yeu"):
        assert ceremony("witness", transcript, "--as", name, "--key", str(people[name])).returncode == 0
    said = ceremony("verify", transcript, "--rehearsal", rehearsed.stdout.strip(), "--devices", "--json")
    assert said.returncode == 0, said.stdout
    assert json.loads(said.stdout)["witnessed"] == ["attt", "co-yeu"]
