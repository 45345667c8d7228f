"""Rulesets on live machines: a pair is written as one, drift by hand is seen, and nobody can shut himself out."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from qhs import ruleset_access
from qhs.layout import topology
from qhs.twin import access, boot, inside, lifecycle
from qhs.twin.names import Twin
from stacks.model import load

from .conftest import Run, WatchedUp

pytestmark = pytest.mark.live

STACK = "twin.qhdc.network"

type Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(twin: Twin, second_up: WatchedUp) -> Ask:
    """Ask a machine's API as the plugin does."""
    config = str(ruleset_access.write(twin))

    def call(machine: str, words: str, text: str = "") -> dict[str, Any]:
        command = inside.command(twin, ["ssh", "-F", config, "-o", "LogLevel=ERROR", machine, words])
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return call


def operator(twin: Twin, machine: str, command: str) -> str:
    done = inside.run(twin, ["ssh", "-F", str(twin.state / "ssh" / "config"), machine, command])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_key_of_the_plugin_opens_the_api_and_nothing_else(ask: Ask) -> None:
    for words in ("cat /etc/shadow", "boot", "rollback", "read; id", ""):
        assert ask("qhdc-db1", words)["error"]["code"] == "usage"


def test_what_is_not_confirmed_is_undone_on_a_live_machine(ask: Ask, twin: Twin) -> None:
    confirmed = operator(twin, "qhdc-db1", "sudo cat /etc/qhs/ruleset.nft")
    less = "\n".join(line for line in confirmed.split("\n") if "app-to" not in line)
    before = ask("qhdc-db1", "read")
    assert ask("qhdc-db1", f"apply {hashlib.sha256(less.encode()).hexdigest()}", less)["confirm_within"] == 30
    assert "app-to-postgres" not in json.dumps(ask("qhdc-db1", "read")["nft"])
    end = time.monotonic() + 40
    while ask("qhdc-db1", "read")["pending"]:
        assert time.monotonic() < end
        time.sleep(1)
    after = ask("qhdc-db1", "read")
    assert after["confirmed"] == before["confirmed"]
    assert "app-to-postgres" in json.dumps(after["nft"])


def test_a_member_that_differs_from_its_pair_is_named(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
    rule = "rule inet qhs forward iifname internet tcp dport 23 counter accept"
    operator(twin, "qhdc-fw2", f"sudo nft add {rule}")
    seen = qhs("shell", "--", "pulumi", "preview", "-s", STACK, "--refresh", "--diff")
    assert "qhdc-fw2 (differs from qhdc-fw1: flows.(unnamed), sequence.forward)" in seen.stdout, seen.stdout[-3000:]
    assert "1 to update" in seen.stdout
    assert qhs("shell", "--", "pulumi", "up", "-s", STACK, "--refresh", "--yes").returncode == 0
    assert "dport 23 " not in operator(twin, "qhdc-fw2", "sudo nft list table inet qhs")


def test_a_pair_with_a_dead_member_is_not_written_at_all(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
    operator(twin, "qhdc-fw1", "sudo nft add rule inet qhs forward iifname internet tcp dport 23 counter accept")
    assert qhs("shell", "--", "pulumi", "refresh", "-s", STACK, "--yes", "--skip-preview").returncode == 0
    boot.power_off(twin, ["qhdc-fw2"])
    refused = qhs("shell", "--", "pulumi", "up", "-s", STACK, "--yes", "--skip-preview")
    assert refused.returncode != 0
    assert "error: qhdc-fw2 cannot be reached" in refused.stdout, refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr
    assert "dport 23 " in operator(twin, "qhdc-fw1", "sudo nft list table inet qhs")
    lifecycle.up(topology(load("twin")), twin=twin)
    assert qhs("shell", "--", "pulumi", "up", "-s", STACK, "--yes", "--skip-preview").returncode == 0
    assert "dport 23 " not in operator(twin, "qhdc-fw1", "sudo nft list table inet qhs")


def test_a_ruleset_replaced_by_itself_still_stands(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
    told = qhs("shell", "--", "pulumi", "stack", "-s", STACK, "--show-urns").stdout
    (urn,) = {word for word in told.split() if word.endswith("Ruleset::qhdc-db1")}
    done = qhs("shell", "--", "pulumi", "up", "-s", STACK, "--yes", "--skip-preview", "--target-replace", urn)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "app-to-postgres" in operator(twin, "qhdc-db1", "sudo nft list table inet qhs")


def test_a_machine_taken_out_of_the_estate_does_not_block_a_refresh(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
    operators = access.config(twin)
    named = operators.read_text()
    left = "".join(f"Host {block}" for block in named.split("Host ")[1:] if not block.startswith("qhdc-db1\n"))
    try:
        operators.write_text(left)
        seen = qhs("shell", "--", "pulumi", "refresh", "-s", STACK, "--preview-only")
    finally:
        operators.write_text(named)
    assert seen.returncode == 0, seen.stdout[-3000:]
    assert "- 1 to delete" in seen.stdout, seen.stdout[-3000:]


def test_check_mode_tells_the_truth_and_changes_nothing(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
    playbook = ["ansible-playbook", "scripts/playbooks/site.yml", "--limit", "qhdc-fw1"]
    check = [*playbook, "--check", "--diff"]
    assert "changed=0" in qhs("shell", "--", *check).stdout
    operator(
        twin,
        "qhdc-fw1",
        "sudo sed -i 's/^net.ipv4.ip_forward = 1/net.ipv4.ip_forward = 0/' /etc/sysctl.d/70-qhs-forward.conf",
    )
    told = qhs("shell", "--", *check).stdout
    assert "+net.ipv4.ip_forward = 1" in told, told
    assert "ip_forward = 0" in operator(twin, "qhdc-fw1", "cat /etc/sysctl.d/70-qhs-forward.conf")
    assert qhs("shell", "--", *playbook).returncode == 0
    assert "ip_forward = 1" in operator(twin, "qhdc-fw1", "cat /etc/sysctl.d/70-qhs-forward.conf")


def test_a_machine_loads_its_confirmed_ruleset_before_its_network(twin: Twin, second_up: WatchedUp) -> None:
    boot.power_off(twin, ["qhdc-db1"])
    lifecycle.up(topology(load("twin")), twin=twin)
    show = "systemctl show --value -p ActiveEnterTimestampMonotonic"
    entered = [
        int(operator(twin, "qhdc-db1", f"{show} {unit}")) for unit in ("qhs-ruleset", "network-pre.target", "ssh")
    ]
    assert entered == sorted(entered)
    required = operator(twin, "qhdc-db1", "systemctl show --value -p Requires -p After systemd-networkd")
    assert required.count("qhs-ruleset.service") == 2
    assert "app-to-postgres" in operator(twin, "qhdc-db1", "sudo nft list table inet qhs")
