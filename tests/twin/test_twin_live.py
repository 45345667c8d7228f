"""A small twin of its own, from nothing to nothing: two machines and two clients."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qhs.errors import UserError
from qhs.folders import CLONE
from qhs.lock import alone
from qhs.twin import access, boot, inside, lifecycle, limits, names, wires
from qhs.twin.lifecycle import Up
from qhs.twin.names import Twin
from qhs.twin.standing import state
from qhs.twin.topology import Topology
from tests.twin.lab import GATE, TOPOLOGY, alone_on_the_host, read

pytestmark = pytest.mark.live

CAP_NET_ADMIN, CAP_SYS_TIME = 12, 25


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with alone_on_the_host(tmp_path_factory.mktemp("state")) as mine:
        yield mine


@pytest.fixture(scope="module")
def first(twin: Twin) -> Up:
    return lifecycle.up(TOPOLOGY)


def ssh(twin: Twin, machine: str, command: str) -> "subprocess.CompletedProcess[str]":
    return inside.run(twin, ["ssh", "-F", str(access.config(twin)), machine, command])


def banner(twin: Twin, client: str, address: str) -> str:
    def read() -> str:
        with socket.create_connection((address, 22), timeout=3) as connection:
            return connection.recv(4).decode()

    return inside.call(twin.netns_path(client), read)


def inits(twin: Twin) -> dict[str, int | None]:
    return {name: boot.group(twin, name).init() for name in ("gate", "host")}


def test_machines_boot_whole_and_quickly(twin: Twin, first: Up) -> None:
    assert set(first.booted) == {"gate", "host"}
    for name in first.booted:
        assert ssh(twin, name, "systemctl is-system-running --wait").stdout.strip() == "running"
        assert ssh(twin, name, "hostname").stdout.strip() == name
        # Of its own group: no service holds a process of another machine's.
        listed = ssh(twin, name, "ps -C sshd --no-headers -o pid | wc -l; systemctl show ssh -p NRestarts")
        assert listed.stdout.split() == ["1", "NRestarts=0"]
    assert all(it.state == "running" and it.memory_bytes and it.cpu_seconds for it in lifecycle.status())


def test_packets_pass_between_clients_and_machines_in_both_families(twin: Twin, first: Up) -> None:
    for client in ("near", "far"):
        for address in ("10.77.2.10", "fd77:2::10"):
            assert banner(twin, client, address) == "SSH-"


def test_management_ports_are_isolated(twin: Twin, first: Up) -> None:
    ping = "ping -c1 -W1"
    assert ssh(twin, "host", f"{ping} 10.77.2.1").returncode == 0
    assert ssh(twin, "host", f"{ping} 10.77.0.1").returncode == 0
    assert ssh(twin, "host", f"{ping} -I mgmt 10.77.0.11").returncode == 1


def test_nothing_leads_out(twin: Twin, first: Up) -> None:
    for address in ("192.0.2.1", "2001:db8::1"):
        route = inside.run(twin, ["ip", "route", "get", address])
        assert "unreachable" in route.stderr
    kinds = {link.get("linkinfo", {}).get("info_kind", link["ifname"]) for link in wires.links(twin)}
    assert kinds == {"lo", "bridge", "veth"}
    wired = {leg.interface for place in (*TOPOLOGY.machines, *TOPOLOGY.clients) for leg in place.legs}
    assert {port.alias.partition(":")[2].split()[0] for port in wires.ports(twin).values()} == wired


def test_a_disk_is_born_with_the_files_it_was_promised(twin: Twin, first: Up) -> None:
    assert ssh(twin, "host", "sudo cat /etc/qhs-first-boot").stdout == "baked\n"
    assert ssh(twin, "host", "stat -c '%a %U' /etc/qhs-first-boot").stdout == "600 root\n"


def test_the_shared_clock_is_out_of_reach(twin: Twin, first: Up) -> None:
    # Judged by the right, not by a try: a try that succeeds would set the clock of whoever runs this.
    said = ssh(twin, "host", "sudo grep CapBnd /proc/self/status").stdout
    rights = int(said.split()[1], 16)
    assert rights >> CAP_NET_ADMIN & 1
    assert not rights >> CAP_SYS_TIME & 1


def test_root_and_strangers_do_not_log_in(twin: Twin, first: Up) -> None:
    assert (
        "Permission denied"
        in inside.run(
            twin, ["ssh", "-F", str(access.config(twin)), "-o", "BatchMode=yes", "-l", "root", "host", "true"]
        ).stderr
    )


def test_the_hosts_limits_are_raised_and_put_back(
    twin: Twin, first: Up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raised() -> bool:
        return all(int(knob.read_text()) >= wanted for knob, wanted in limits.KNOBS.items())

    assert raised()
    limits.restore()
    assert raised(), "lowered under a running twin"
    # A knob of this test's own: the real ones are shared by all twins on the host.
    knobs = {tmp_path / "knob": 4096}
    (knob,) = knobs
    knob.write_text("128\n")
    limits.ensure(knobs)
    limits.ensure(knobs)
    assert knob.read_text() == "4096\n"
    monkeypatch.setattr(names, "NETNS_FOLDER", tmp_path)
    limits.restore(knobs)
    assert knob.read_text() == "128\n"
    limits.restore(knobs)
    assert knob.read_text() == "128\n"


def test_a_second_up_changes_nothing(twin: Twin, first: Up) -> None:
    before = inits(twin)
    again = lifecycle.up(TOPOLOGY)
    assert (again.booted, set(again.kept)) == ({}, {"gate", "host"})
    assert again.seconds < 2
    assert inits(twin) == before


def test_a_killed_init_comes_back_with_its_disk(twin: Twin, first: Up) -> None:
    assert ssh(twin, "host", "echo kept | sudo tee /var/kept; sync").returncode == 0
    before = inits(twin)
    assert before["host"]
    os.kill(before["host"], signal.SIGKILL)
    time.sleep(0.5)
    assert [it.state for it in lifecycle.status()] == ["running", "off"]
    back = lifecycle.up(TOPOLOGY)
    assert set(back.booted) == {"host"}
    assert back.seconds < 20, "neighbours no longer know its address"
    assert banner(twin, "near", "10.77.2.10") == "SSH-"
    assert ssh(twin, "host", "cat /var/kept").stdout == "kept\n"
    assert inits(twin)["gate"] == before["gate"]


def test_a_killed_nspawn_comes_back(twin: Twin, first: Up) -> None:
    group = boot.group(twin, "host")
    for pid in group.processes():
        if read(Path(f"/proc/{pid}/comm")).strip() == "systemd-nspawn":
            os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    assert [it.state for it in lifecycle.status()] == ["running", "orphaned"]
    assert set(lifecycle.up(TOPOLOGY).booted) == {"host"}
    assert state(twin, "host") == "running"


def test_pulled_wires_are_put_back_without_a_boot(twin: Twin, first: Up) -> None:
    before = inits(twin)
    wires.ip(twin, ["link del right", "link del mgmt"])
    with pytest.raises(OSError):
        banner(twin, "near", "10.77.2.10")
    assert lifecycle.up(TOPOLOGY).booted == {}
    assert inits(twin) == before
    assert banner(twin, "near", "10.77.2.10") == "SSH-"
    test_management_ports_are_isolated(twin, first)


def test_what_the_topology_drops_goes(twin: Twin, first: Up) -> None:
    less = Topology(bridges=("mgmt", "left", "right"), machines=(GATE,), operators=TOPOLOGY.operators)
    assert lifecycle.up(less).kept == ("gate",)
    assert [it.name for it in lifecycle.status()] == ["gate"]
    assert wires.namespaces(twin) == (True, [])
    for pid in boot.group(twin, "gate").processes():
        assert "nsfs" not in read(Path(f"/proc/{pid}/mountinfo")), "a machine keeps others' namespaces alive"
    more = lifecycle.up(TOPOLOGY)
    assert (set(more.booted), more.kept) == ({"host"}, ("gate",))
    assert banner(twin, "far", "10.77.2.10") == "SSH-"


@pytest.mark.parametrize("moment", ["gate: power on", "host: power on", "gate answers"])
def test_a_run_killed_at_any_moment_is_no_matter(twin: Twin, first: Up, moment: str) -> None:
    boot.power_off(twin, ["gate", "host"])
    with subprocess.Popen(
        [sys.executable, "-m", "tests.twin.lab"], cwd=CLONE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        assert any(moment in line for line in run.stdout)
        run.kill()
    lifecycle.up(TOPOLOGY)
    assert {it.state for it in lifecycle.status()} == {"running"}
    assert banner(twin, "far", "10.77.2.10") == "SSH-"


def qhs_twin(*words: str) -> "subprocess.CompletedProcess[str]":
    program = "from qhs.twin.cli import app; app()"
    return subprocess.run([sys.executable, "-c", program, *words], check=False, capture_output=True, text=True)


def test_the_command_line_looks_and_goes_inside(twin: Twin, first: Up) -> None:
    told = json.loads(qhs_twin("status", "--json").stdout)
    assert [(it["name"], it["state"]) for it in told["machines"]] == [
        ("gate", "running"),
        ("host", "running"),
    ]
    assert told["clients"] == ["far", "near"]
    for place, name in (("host", "host\n"), ("far", socket.gethostname() + "\n")):
        said = qhs_twin("exec", place, "--", "sh", "-c", "hostname; exit 7")
        assert (said.stdout, said.returncode) == (name, 7)
    assert "10.77.1.20/24" in qhs_twin("exec", "far", "--", "ip", "address").stdout
    assert "has no moon; it has gate, host, far, near" in qhs_twin("exec", "moon", "--", "true").stderr


def test_a_second_up_at_once_is_refused(twin: Twin, first: Up) -> None:
    with alone(twin.lock, "up"), pytest.raises(UserError, match=rf"pid {os.getpid()}, for \d+ s"):
        lifecycle.up(TOPOLOGY)
