"""The HSMs of both centres on live machines: provisioned over SSH by one API, and a key of one serves at the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from qhs import ruleset_access
from qhs.hsm import device
from qhs.hsm.cli import HsmReport
from qhs.inventory import groups
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import load, signing
from stacks.provider.signing.device import USER
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.trust import SOFTHSM

pytestmark = pytest.mark.live

ESTATE = load("twin")
DEVICES = tuple(groups(ESTATE)["role_hsm"])
TOKEN = {"token": "probe", "pin": "pin-of-the-test-1"}
OFFICER = {"token": "probe", "so_pin": "officer-of-the-test-1"}
TOKENS = ESTATE.inventory.hsm.soft_tokens

type Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def domain(twin: Twin, hosts: Hosts, second_up: WatchedUp) -> Iterator[Ask]:
    """A token of one domain on every device, gone after the test."""
    done = partial(device.ask, twin)
    first, *others = DEVICES
    try:
        for one in DEVICES:
            done(one, "make-token", **TOKEN | OFFICER)
        done(first, "make-kek", **TOKEN)
        for one in others:
            done(first, "trust", **OFFICER, device_name=one, public=done(one, "transport", **TOKEN)["public"])
            done(one, "take-kek", **TOKEN, wrapped=done(first, "kek-for", **TOKEN, device_name=one)["wrapped"])
        yield done
    finally:
        hosts.say(f"{SOFTHSM} --delete-token --token probe", DEVICES)


def test_a_key_that_one_device_makes_signs_on_all_of_both_centres(domain: Ask) -> None:
    assert {ESTATE.machines[one].site for one in DEVICES} == {"qhdc", "ndc"}
    assert len(DEVICES) == 4
    first, *others = DEVICES
    key = {**TOKEN, "label": "shared", "use": "sign"}
    public = domain(first, "make-shared-key", **key, algorithm="rsa-3072")["key"]["public"]
    wrapped = domain(first, "wrapped", **TOKEN, label="shared")["wrapped"]
    for one in others:
        assert domain(one, "take-key", **key, public=public, wrapped=wrapped) == {"made": True}
    for one in DEVICES:
        assert domain(one, "prove", **TOKEN, label="shared") == {"verified": True}
        (found,) = (it for it in domain(one, "keys", **TOKEN)["keys"] if it["label"] == "shared")
        assert (found["public"], found["sensitive"], found["extractable"]) == (public, True, False)


def test_the_key_of_the_plugin_opens_the_api_and_nothing_else(twin: Twin, second_up: WatchedUp) -> None:
    config = str(ruleset_access.write(twin))
    for words in ("cat /etc/shadow", "tokens; id", "", "softhsm2-util --show-slots", "many many"):
        command = ["ssh", "-F", config, "-o", "LogLevel=ERROR", "-l", USER, "--", DEVICES[0], words]
        done = inside.run(twin, command)
        assert done.returncode == 1, done.stderr
        assert json.loads(done.stdout)["error"]["code"] == "usage"
    with pytest.raises(device.DeviceError) as refused:
        device.ask(twin, DEVICES[0], "cat /etc/shadow")
    assert refused.value.code == "usage"


def test_status_shows_the_tokens_of_both_centres(domain: Ask, qhs: Run) -> None:
    done = qhs("hsm", "status", "--json")
    report = HsmReport.model_validate_json(done.stdout)
    assert done.returncode == 0
    assert {one.machine: [it.label for it in one.tokens] for one in report.devices} == {
        one: sorted(["probe", "unseal", *(token.label for token in signing.tokens(ESTATE))]) for one in DEVICES
    }


def test_nobody_but_its_own_user_reads_what_stands_in_for_a_device(hosts: Hosts) -> None:
    for name, said in hosts.say(
        f"stat -c '%U:%G %a' {TOKENS}; sudo -u nobody ls {TOKENS} 2>&1 || true", DEVICES
    ).items():
        owner, refused = said.splitlines()
        assert owner == "qhs-hsm:qhs-hsm 700", name
        assert "Permission denied" in refused, name


def test_what_is_asked_is_in_the_log_and_no_pin(domain: Ask, hosts: Hosts) -> None:
    domain(DEVICES[0], "keys", **TOKEN)
    said = hosts.say("journalctl --no-pager -t qhs_hsm.py", DEVICES[:1])[DEVICES[0]]
    assert "'keys': done" in said
    assert TOKEN["pin"] not in said
    assert OFFICER["so_pin"] not in said
