"""A small twin that is broken on purpose: power over Redfish, a standstill, cut wires; and an enclave beside it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qhs import power
from qhs.errors import UserError
from qhs.layout import OPEN
from qhs.power import Service
from qhs.twin import access, boot, endpoint, inside, lifecycle, outage, wires
from qhs.twin.lifecycle import Up
from qhs.twin.names import Twin, port
from qhs.twin.standing import State, state
from qhs.twin.topology import Client, Leg, Machine, Topology
from tests.twin import reach
from tests.twin.lab import GATE, HOST, alone_on_the_host, leave_nothing, leg, read
from tests.twin.lab import TOPOLOGY as LAB

pytestmark = pytest.mark.live

# A device that claims an address of the enclave's prefix: were there any wire, it would not even need a router.
SPY = Client(
    name="spy",
    legs=(Leg(interface="eth0", bridge="left", addresses=("10.77.9.99/24", "fd77:9::99/64", "10.77.1.99/24")),),
)
ISLANDERS = tuple(
    Machine(name=f"isle{number}", site="lab", legs=(leg("secret", "isle", 9, 10 + number),), files=OPEN, island=True)
    for number in (1, 2)
)
TOPOLOGY = Topology(
    bridges=(*LAB.bridges, "isle"),
    machines=(GATE, HOST.model_copy(update={"site": "other"}), *ISLANDERS),
    clients=(*LAB.clients, SPY),
    operators=LAB.operators,
    between=("right",),
)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with alone_on_the_host(tmp_path_factory.mktemp("state")) as mine:
        yield mine


@pytest.fixture(scope="module")
def first(twin: Twin) -> Up:
    return lifecycle.up(TOPOLOGY)


def qhs_twin(*words: str) -> "subprocess.CompletedProcess[str]":
    program = "from qhs.twin.cli import app; app()"
    return subprocess.run([sys.executable, "-c", program, *words], check=False, capture_output=True, text=True)


def answers(twin: Twin, client: str = "far", address: str = "10.77.2.10", within: float = 1.0) -> bool:
    def read_banner() -> bytes:
        with socket.create_connection((address, 22), timeout=within) as connection:
            return connection.recv(4)

    end = time.monotonic() + within
    while True:  # a router that has just looked for it in vain says at once that nobody is there
        try:
            return inside.call(twin.netns_path(client), read_banner) == b"SSH-"
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)


def states(twin: Twin) -> dict[str, State]:
    return {name: state(twin, name) for name in ("gate", "host")}


def service(twin: Twin, name: str = "host") -> Service:
    return endpoint.service(twin, TOPOLOGY, next(it for it in TOPOLOGY.machines if it.name == name))


def test_power_off_and_on_are_done_once_and_said_each_time(twin: Twin, first: Up) -> None:
    ssh = ["ssh", "-F", str(access.config(twin)), "host"]
    assert inside.run(twin, [*ssh, "echo kept | sudo tee /var/kept; sync"]).returncode == 0
    assert qhs_twin("power-off", "host").stdout.startswith("host: powered off (")
    assert states(twin) == {"gate": "running", "host": "off"}
    assert not answers(twin)
    assert outage.power_off(twin, "host") == []
    assert qhs_twin("power-on", "host").stdout.startswith("host: powered on (")
    assert answers(twin)
    assert inside.run(twin, [*ssh, "cat /var/kept"]).stdout == "kept\n"
    assert qhs_twin("power-on", "host").stdout == "host: on already\n"


def test_a_site_loses_its_power_and_no_other_does(twin: Twin, first: Up) -> None:
    assert outage.power_off(twin, "other") == ["host"]
    assert states(twin) == {"gate": "running", "host": "off"}
    assert outage.power_on(twin, "other") == ["host"]
    assert states(twin) == {"gate": "running", "host": "running"}


def test_a_paused_machine_answers_nothing_and_goes_on_where_it_was(twin: Twin, first: Up) -> None:
    before = boot.group(twin, "host").init()
    assert outage.pause(twin, "host") == ["host"]
    assert outage.pause(twin, "host") == []
    assert states(twin)["host"] == "paused"
    assert not answers(twin)
    assert inside.call(twin.netns_path(), lambda: power.is_on(service(twin), "host")), "a hung machine has power"
    assert outage.resume(twin, "host") == ["host"]
    assert outage.resume(twin, "host") == []
    assert answers(twin)
    assert boot.group(twin, "host").init() == before


def test_a_paused_machine_can_be_fenced(twin: Twin, first: Up) -> None:
    outage.pause(twin, "host")
    assert outage.power_off(twin, "host") == ["host"]
    assert states(twin)["host"] == "off"
    with pytest.raises(UserError, match="host: without power"):
        outage.pause(twin, "host")
    assert outage.power_on(twin, "host") == ["host"]


def test_a_cut_wire_stays_cut_when_its_machine_starts_again(twin: Twin, first: Up) -> None:
    assert outage.cut(twin, "host:eth0") == ["host:eth0"]
    assert outage.cut(twin, "host:eth0") == []
    assert not answers(twin)
    assert "NO-CARRIER" in qhs_twin("console", "host", "--", "ip", "link", "show", "eth0").stdout
    outage.power_off(twin, "host")
    outage.power_on(twin, "host")
    assert not answers(twin)
    told = json.loads(qhs_twin("status", "--json").stdout)
    assert (told["cut"], {it["state"] for it in told["machines"]}) == (["host:eth0"], {"running"})
    assert outage.heal(twin, "host:eth0") == ["host:eth0"]
    assert answers(twin, within=5)


def test_a_bridge_and_a_site_are_cut_and_healed(twin: Twin, first: Up) -> None:
    assert outage.cut(twin, "left") == ["far:eth0", "gate:left", "spy:eth0"]
    assert not answers(twin)
    assert answers(twin, "near"), "the other bridge is whole"
    assert qhs_twin("status").stdout.splitlines()[-1] == "cut: left"
    assert outage.cut(twin, "other") == ["host:eth0"]
    assert not answers(twin, "near")
    assert outage.heal(twin, "other") == ["host:eth0"]
    assert outage.heal(twin, "left") == ["far:eth0", "gate:left", "spy:eth0"]
    assert answers(twin, within=5)


def test_a_machine_that_cannot_be_asked_is_started_all_the_same(twin: Twin, first: Up) -> None:
    outage.power_off(twin, "host")
    outage.cut(twin, "mgmt")
    assert outage.power_on(twin, "host") == ["host"]
    outage.heal(twin, "mgmt")
    assert lifecycle.up(TOPOLOGY).booted == {}


def test_unknown_words_are_refused_with_what_there_is(twin: Twin, first: Up) -> None:
    for act in (outage.power_off, outage.power_on, outage.pause, outage.resume):
        with pytest.raises(UserError, match=r"no machine or site moon(.|\n)*lab, other"):
            act(twin, "moon")
    for act in (outage.cut, outage.heal):
        with pytest.raises(UserError, match=r"no link moon(.|\n)*mgmt, left, right, isle"):
            act(twin, "moon")


def test_the_endpoint_is_for_who_knows_its_password_and_has_its_certificate(
    twin: Twin, first: Up, tmp_path: Path
) -> None:
    right = service(twin)
    (tmp_path / "wrong").write_text("wrong")
    stranger = replace(right, password=tmp_path / "wrong")
    with pytest.raises(UserError, match="power of host"):
        inside.call(twin.netns_path(), lambda: power.is_on(stranger, "host"))
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    assert bundle.is_file()
    with pytest.raises(UserError, match="CERTIFICATE_VERIFY_FAILED"):
        inside.call(twin.netns_path(), lambda: power.is_on(replace(right, certificate=bundle), "host"))
    assert {path.stat().st_mode & 0o77 for path in (twin.endpoint / "password", twin.endpoint / "key.pem")} == {0}
    secret = right.password.read_text()
    lines = [read(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert any("qhs.twin.redfish" in line for line in lines)
    assert not any(secret in line for line in lines)
    assert secret not in (twin.endpoint / "log").read_text()


def test_the_endpoint_listens_on_the_operators_address_alone(twin: Twin, first: Up) -> None:
    told = inside.run(twin, ["ss", "-Hlntu"]).stdout
    assert [line.split()[4] for line in told.splitlines()] == ["10.77.0.1:443"]


def test_after_a_killed_endpoint_up_comes_back(twin: Twin, first: Up) -> None:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if read(path).endswith(f"\0qhs.twin.redfish\0{twin.name}\0"):
            os.kill(int(path.parts[2]), signal.SIGKILL)
    with pytest.raises(UserError, match=r"https://10.77.0.1:443: power of host: (.|\n)*qhs up"):
        outage.power_off(twin, "host")
    assert lifecycle.up(TOPOLOGY).booted == {}
    assert outage.power_off(twin, "host") == ["host"]
    assert set(lifecycle.up(TOPOLOGY).booted) == {"host"}


def test_a_second_up_keeps_the_endpoint(twin: Twin, first: Up) -> None:
    before = endpoint.certificate(twin).read_bytes()
    assert lifecycle.up(TOPOLOGY).seconds < 3
    assert endpoint.certificate(twin).read_bytes() == before


def test_up_mends_all_that_was_broken(twin: Twin, first: Up) -> None:
    outage.cut(twin, "right")
    outage.power_off(twin, "gate")
    outage.pause(twin, "host")
    before = boot.group(twin, "host").init()
    assert set(lifecycle.up(TOPOLOGY).booted) == {"gate"}
    assert boot.group(twin, "host").init() == before
    assert qhs_twin("status").returncode == 0
    assert answers(twin, within=5)


def test_the_enclave_reaches_itself_and_nobody_else_and_nobody_reaches_it(twin: Twin, first: Up) -> None:
    assert reach.within(twin, TOPOLOGY), "its own machines talk to each other, or this proves nothing"
    assert reach.into(twin, TOPOLOGY) == []
    assert reach.out_of(twin, TOPOLOGY) == []


def test_a_wire_into_the_enclave_is_found(twin: Twin, first: Up) -> None:
    wires.ip(twin, [f"link set {port('spy', 'eth0')} master isle"])
    # Whom it could not find just before it would not look for again at once.
    wires.ip(twin, ["neigh flush dev eth0"], twin.client_netns("spy"))
    try:
        found = reach.into(twin, TOPOLOGY)
        assert {"spy -> isle1 10.77.9.11", "spy -> isle2 fd77:9::12"} <= set(found)
        assert "isle1 -> spy 10.77.9.99" in reach.out_of(twin, TOPOLOGY)
    finally:
        lifecycle.up(TOPOLOGY)
    assert reach.into(twin, TOPOLOGY) == []


def test_the_console_is_the_only_way_into_the_enclave(twin: Twin, first: Up) -> None:
    with pytest.raises(UserError, match="isle1 has no management port"):
        outage.power_off(twin, "isle1")
    said = qhs_twin("console", "isle1", "--", "sh", "-c", "hostname; id -u; env | grep -c QHS; exit 7")
    assert (said.stdout, said.returncode) == ("isle1\n0\n0\n", 7)
    rights = int(qhs_twin("console", "isle1", "--", "grep", "CapBnd", "/proc/self/status").stdout.split()[1], 16)
    assert not rights >> 25 & 1, "the host's clock is within reach"
    assert qhs_twin("console", "isle1", "--", "systemctl", "poweroff").returncode == 0
    end = time.monotonic() + 15
    while state(twin, "isle1") != "off":
        assert time.monotonic() < end
        time.sleep(0.1)
    assert "isle1 of twin" in qhs_twin("console", "isle1").stderr
    assert set(lifecycle.up(TOPOLOGY).booted) == {"isle1"}


def test_down_leaves_nothing_of_a_broken_twin(twin: Twin, first: Up) -> None:
    outage.pause(twin, "host")
    outage.cut(twin, "right")
    outage.power_off(twin, "gate")
    for pid in boot.group(twin, "isle1").processes():
        if read(Path(f"/proc/{pid}/comm")) == "systemd-nspawn\n":
            os.kill(pid, signal.SIGKILL)
    leave_nothing(twin)
    assert qhs_twin("status").returncode == 2
