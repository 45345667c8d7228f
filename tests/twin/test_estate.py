"""From nothing to a network that packets prove, and again without a change."""

from __future__ import annotations

import fcntl
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from qhs import up
from qhs.net.probe.agree import PODS
from qhs.net.probe.cells import Probe, probes
from qhs.net.probe.packets import Fate
from qhs.net.probe.report import ProbeReport, counted
from qhs.net.probe.run import Result, run
from qhs.net.probe.vantage import vantages
from qhs.progress import silent
from qhs.twin import inside, preflight, wires
from qhs.twin.names import Twin
from stacks.model import load
from tests.pace import Pace
from tests.twin.conftest import MEASURED, Run, WatchedUp

pytestmark = pytest.mark.live


def ssh(twin: Twin, machine: str, *command: str) -> str:
    """Run a command on a machine as the operator."""
    done = inside.run(twin, ["ssh", "-F", str(twin.state / "ssh" / "config"), machine, "--", *command])
    assert done.returncode == 0, done.stderr
    return done.stdout


def sent(twin: Twin, keep: Callable[[Probe], bool]) -> list[Result]:
    """What became of the packets that a test is about."""
    now = datetime.now(UTC)
    estate = load("twin", now)
    return run(twin, [one for one in probes(estate, vantages(estate, twin), now) if keep(one)])


def disagreements(twin: Twin, keep: Callable[[Probe], bool]) -> list[str]:
    """What of it the catalogue does not say."""
    return [str(one) for one in sent(twin, keep) if not one.as_wanted]


def to_database(probe: Probe) -> bool:
    return (probe.target.service, probe.holder.name) == ("ballot-db", "qhdc-db1")


def test_everything_comes_up_and_packets_agree(from_nothing: WatchedUp) -> None:
    first_up = from_nothing.report
    assert first_up["machines"] == len(load("twin").machines)
    assert first_up["probes"] > 0
    assert first_up["disagreements"] == []
    assert first_up["seconds"]["in all"] <= 18 * 60 * from_nothing.slowness, first_up["seconds"]


def test_flows_that_machines_use_have_counted_packets(first_up: dict[str, Any], qhs: Run) -> None:
    done = qhs("net", "report", "--live", "--json")
    assert done.returncode == 0, done.stderr
    packets = {one["flow"]: one["packets"] for one in json.loads(done.stdout)["flows"]}
    # Each machine asks at least two sources.
    assert packets["everyone-to-time"] >= len(load("twin").machines)


def test_a_second_run_changes_nothing(second_up: WatchedUp) -> None:
    """T-A03."""
    assert second_up.report["changes"] == 0
    assert second_up.report["seconds"]["in all"] <= 4 * 60 * second_up.slowness, second_up.report["seconds"]


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
    rule = next(one for one in rules if one.get("comment", "") == "app-to-ballot-db" and one["chain"] == "input")
    ssh(twin, "qhdc-db1", "sudo", "nft", "delete", "rule", "inet", "qhs", "input", "handle", str(rule["handle"]))
    seen = qhs("shell", "--", "pulumi", "preview", "-s", "twin.qhdc.network", "--refresh", "--diff")
    assert "app-to-ballot-db" in seen.stdout, seen.stdout + seen.stderr
    found = probed(qhs, "--sample", code=2)
    assert found.wrong, "the packets do not miss the rule"
    assert found.disagreements == [], "paper has read the same kernel"
    assert qhs("net", "prove", "--live").returncode == 2
    repaired = qhs("shell", "--", "pulumi", "up", "-s", "twin.qhdc.network", "--refresh", "--yes")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert disagreements(twin, to_database) == []


def probed(qhs: Run, *options: str, code: int = 0) -> ProbeReport:
    """What `qhs net probe` found."""
    done = qhs("net", "probe", "--json", *options)
    assert done.returncode == code, done.stdout[-3000:] + done.stderr
    return ProbeReport.model_validate_json(done.stdout)


def test_every_cell_is_as_wanted_and_as_on_paper(qhs: Run, second_up: WatchedUp) -> None:
    """T-F03, T-F04, T-F18: real packets for every cell that has a place in the twin; test_nodes shows those of pods."""
    pace = Pace()
    found = probed(qhs)
    assert (found.wrong, found.disagreements, found.missing) == ([], [], [])
    assert found.probed + sum(found.unplaced.values()) == found.proved
    assert found.unplaced[PODS] > 0 and found.probed >= 0.98 * (found.proved - found.unplaced[PODS])
    cells = found.probed + found.firewalls
    MEASURED.append(f"net probe: {counted(found)}; {cells / found.send_seconds:.0f} cells a second, "
                    f"on paper {found.proved / found.prove_seconds:.0f}")  # fmt: skip
    MEASURED.extend(f"net probe: {count} cells have no place: {why}" for why, count in found.unplaced.items())
    assert 1000 * found.send_seconds / cells <= pace.limit(60), "T-F18: a thousand within a minute"
    fates = {(one.packet.partition("/")[0], ":" in one.address, bool(one.flow), one.fate) for one in found.packets}
    for protocol, ipv6 in product(("tcp", "udp", "icmp"), (False, True)):
        assert (protocol, ipv6, False, Fate.DROP) in fates
        assert (protocol, ipv6, True, Fate.OPEN) in fates or protocol == "icmp"  # no flow allows an echo


def test_a_drop_that_paper_does_not_know_is_a_disagreement(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
    """T-F04: below the hooks that the proof reads. The catalogue wants the packet too, so it is wrong as well."""
    hook = "{ type filter hook ingress device data priority 0; }"
    ssh(twin, "qhdc-db1", f"sudo nft 'add table netdev odd; add chain netdev odd in {hook}; "
                          "add rule netdev odd in tcp dport 5432 drop'")  # fmt: skip
    try:
        found = probed(qhs, "--sample", code=2)
    finally:
        ssh(twin, "qhdc-db1", "sudo nft delete table netdev odd")
    assert found.wrong and found.disagreements
    assert all("tcp/5432" in one and "found drop" in one for one in found.disagreements)
    assert all("on paper it passes: " in one and "qhdc-db1 data to itself: " in one for one in found.disagreements)


def test_what_packets_left_is_gone(twin: Twin, second_up: WatchedUp) -> None:
    """Its namespaces and their wires, with the process that had them open."""
    before = {port.alias for port in wires.ports(twin).values()}
    assert sent(twin, lambda probe: probe.source.kind == "stand" and to_database(probe))
    assert {port.alias for port in wires.ports(twin).values()} == before


@pytest.mark.parametrize("client", ["voter", "axis"])
def test_a_wire_that_is_cut_is_no_rule_that_holds(twin: Twin, second_up: WatchedUp, client: str) -> None:
    """Nothing is allowed from there, so no packet would be missed: the place itself must be seen to be cut off."""

    def from_client(probe: Probe) -> bool:
        return probe.source.name == client and probe.target.service == "ballot-db"

    wire = next(name for name, port in wires.ports(twin).items() if port.alias.startswith(f"{client}:"))
    wires.ip(twin, [f"link set {wire} down"])
    try:
        wrong = [one for one in sent(twin, from_client) if not one.as_wanted]
    finally:
        wires.ip(twin, [f"link set {wire} up"])
    assert {one.fate for one in wrong} == {Fate.NO_WIRE}
    assert {":" in one.probe.address for one in wrong} == {False, True}
    assert disagreements(twin, from_client) == []


def test_a_service_that_answers_in_its_own_way_is_no_disagreement(twin: Twin, second_up: WatchedUp) -> None:
    """It holds its port already, and knows nothing of our echo."""
    estate = load("twin")
    holder = next(one for one in vantages(estate, twin) if (one.name, one.place) == ("qhdc-db1", "qhdc.data"))
    with holder.inside(lambda: socket.create_server((database(), 5432), backlog=64)):
        assert disagreements(twin, to_database) == []


def database() -> str:
    """An address of qhdc-db1 that nothing serves at yet."""
    return held_at("qhdc-db1", "ballot-db")


def held_at(machine: str, service: str) -> str:
    (held,) = [one for one in load("twin").machines[machine].services if one.service == service]
    return str(held.targets[0].ipv4.network_address)


def test_a_machine_without_its_service_address_is_an_error(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
    at = held_at("qhdc-app1", "ballot-ingress")
    ssh(twin, "qhdc-app1", "sudo", "ip", "address", "del", f"{at}/32", "dev", "app")
    try:
        done = qhs("net", "probe", "--sample")
    finally:
        ssh(twin, "qhdc-app1", "sudo", "ip", "address", "add", f"{at}/32", "dev", "app")
    assert done.returncode == 1
    assert f"qhdc-app1 cannot listen on {at} tcp/443: Cannot assign requested address" in done.stderr


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
    with twin.up_lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = qhs("up")
    assert done.returncode == 1
    assert "already running" in done.stderr
