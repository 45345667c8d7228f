"""From nothing to a network that packets prove, and again without a change."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from qhs import ruleset_access
from qhs.net.probe.run import probes, run
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.addresses import Pair
from tests.twin.conftest import Run, SecondUp

pytestmark = pytest.mark.live


def ssh(twin: Twin, machine: str, *command: str) -> str:
    """Run a command on a machine as the operator."""
    done = inside.run(twin, ["ssh", "-F", str(twin.state / "ssh" / "config"), machine, "--", *command])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_comes_up_and_packets_agree(first_up: dict[str, Any]) -> None:
    assert first_up["machines"] == len(load("twin").machines)
    assert first_up["probes"] > 0
    assert first_up["disagreements"] == []
    assert first_up["seconds"]["in all"] <= 120, first_up["seconds"]


def test_a_second_run_changes_nothing(second_up: SecondUp) -> None:
    """T-A03."""
    assert second_up.report["changes"] == 0
    assert second_up.report["seconds"]["in all"] <= 30, second_up.report["seconds"]


def test_a_plain_pulumi_finds_nothing_to_change(qhs: Run, second_up: SecondUp) -> None:
    done = qhs("shell", "--", "pulumi", "preview", "-s", "twin.qhdc.network", "--expect-no-changes", "--refresh")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_kernels_rules_prove_as_planned(qhs: Run, first_up: dict[str, Any]) -> None:
    """T-F02 on what stands: every cell, from what each kernel shows."""
    done = qhs("net", "prove", "--live", "--json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    planned = qhs("net", "prove", "--json")
    live, paper = json.loads(done.stdout)["kinds"], json.loads(planned.stdout)["kinds"]
    assert {kind: live[kind] for kind in ("flow", "rest", "chain")} == {
        kind: paper[kind] for kind in ("flow", "rest", "chain")
    }
    # On paper the members of a pair are one; their kernels are two.
    assert live["edge"]["cells"] > paper["edge"]["cells"]


def test_a_rule_removed_by_hand_is_seen_and_put_back(qhs: Run, twin: Twin, second_up: SecondUp) -> None:
    table = json.loads(ssh(twin, "qhdc-db1", "sudo", "nft", "-j", "list", "table", "inet", "qhs"))
    rules = [entry["rule"] for entry in table["nftables"] if "rule" in entry]
    rule = next(one for one in rules if one.get("comment", "") == "app-to-postgres" and one["chain"] == "input")
    ssh(twin, "qhdc-db1", "sudo", "nft", "delete", "rule", "inet", "qhs", "input", "handle", str(rule["handle"]))
    seen = qhs("shell", "--", "pulumi", "preview", "-s", "twin.qhdc.network", "--refresh", "--diff")
    assert "app-to-postgres" in seen.stdout, seen.stdout + seen.stderr
    wrong = [str(one) for one in run(probes(load("twin"), twin)) if not one.as_wanted]
    assert wrong, "the packets do not miss the rule"
    assert qhs("net", "prove", "--live").returncode == 2
    repaired = qhs("shell", "--", "pulumi", "up", "-s", "twin.qhdc.network", "--refresh", "--yes")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert [str(one) for one in run(probes(load("twin"), twin)) if not one.as_wanted] == []


def test_no_secret_is_anywhere_but_in_its_own_file(twin: Twin, second_up: SecondUp) -> None:
    """T-A09, for the secrets that exist: the passphrase of the state and the private keys."""
    own = [
        twin.state / "passphrase",
        twin.state / "ssh" / "id_ed25519",
        ruleset_access.write(twin).with_name("id_ruleset"),
    ]
    own += list((twin.state / "machines").glob("*/ssh_host_ed25519_key"))
    marks = [path.read_text().strip().splitlines()[-2 if "BEGIN" in path.read_text() else -1] for path in own]
    assert all(len(mark) >= 16 for mark in marks)
    searched = [
        path for path in twin.state.rglob("*") if path.is_file() and path not in own and "disk" not in path.parts
    ]
    searched += [path for path in Path("/tmp").rglob("*") if path.is_file() and path.stat().st_size < 10_000_000]  # noqa: S108 - where leaks would lie
    for path in searched:
        text = path.read_bytes()
        assert not [mark for mark in marks if mark.encode() in text], path
    assert any("pulumi" in line for line in second_up.command_lines)
    assert not [line for line in second_up.command_lines if any(mark in line for mark in marks)]


def test_live_addresses_are_those_of_the_estate(twin: Twin, first_up: dict[str, Any]) -> None:
    """T-F16: what is not a gateway of the pair is on the machine as the estate derives it, and nothing else is."""
    for machine in load("twin").machines.values():
        wanted = {cidr for port in machine.interfaces for cidr in port.cidrs}
        wanted |= {str(net) for service in machine.services for target in service.targets for net in target.both}
        gateways = {str(ip) for port in machine.interfaces if port.gateway for ip in _hosts(port.gateway)}
        shown = json.loads(ssh(twin, machine.name, "ip", "-json", "address", "show"))
        found = {
            f"{one['local']}/{one['prefixlen']}"
            for link in shown
            for one in link["addr_info"]
            if one["scope"] == "global"
        }
        assert {one for one in found if one.partition("/")[0] not in gateways} == wanted, machine.name


def _hosts(pair: Pair) -> list[object]:
    return [network.network_address for network in pair.both]


def test_the_state_folder_is_closed_to_others(twin: Twin, first_up: dict[str, Any]) -> None:
    assert twin.state.stat().st_mode & 0o077 == 0


def test_a_second_up_at_once_is_refused(qhs: Run, twin: Twin, first_up: dict[str, Any]) -> None:
    lock = twin.lock.with_name(f"{twin.name}.up.lock")
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = qhs("up")
    assert done.returncode == 1
    assert "already running" in done.stderr
