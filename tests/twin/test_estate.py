"""From nothing to a network that packets prove, and again without a change."""

from __future__ import annotations

import fcntl
import json
from typing import Any

import pytest

from qhs import up
from qhs.net.probe.run import probes, run
from qhs.progress import silent
from qhs.twin import inside, preflight
from qhs.twin.names import Twin
from stacks.model import load
from tests.twin.conftest import Run, WatchedUp

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


def test_a_second_run_changes_nothing(second_up: WatchedUp) -> None:
    """T-A03."""
    assert second_up.report["changes"] == 0
    assert second_up.report["seconds"]["in all"] <= 30, second_up.report["seconds"]


def test_a_plain_pulumi_finds_nothing_to_change(qhs: Run, second_up: WatchedUp) -> None:
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


def test_a_rule_removed_by_hand_is_seen_and_put_back(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
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


def test_machines_that_run_need_no_more_memory(
    twin: Twin, first_up: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second `qhs up` asks for none, though the first has taken what was free."""

    class PastTheCheckError(Exception): ...

    def build(*_: object) -> None:
        raise PastTheCheckError

    monkeypatch.setenv("QHS_TWIN", twin.name)
    monkeypatch.setattr(preflight, "_memory_available", lambda: 0)
    monkeypatch.setattr(up, "_build", build)
    with pytest.raises(PastTheCheckError):
        up.up("twin", silent)


def test_the_state_folder_is_closed_to_others(twin: Twin, first_up: dict[str, Any]) -> None:
    assert twin.state.stat().st_mode & 0o077 == 0


def test_a_second_up_at_once_is_refused(qhs: Run, twin: Twin, first_up: dict[str, Any]) -> None:
    lock = twin.lock.with_name(f"{twin.name}.up.lock")
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = qhs("up")
    assert done.returncode == 1
    assert "already running" in done.stderr
