"""The image on metal: a machine that qemu emulates is installed over the virtual media of its power controller."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from qhs import ansible, power
from qhs.folders import CLONE
from qhs.metal import disk, hardware, media, medium
from qhs.twin import endpoint, inside
from qhs.twin.names import Twin
from qhs.twin.sshkey import make
from stacks.model import load
from tests.soak.emulated import CARD, CONTROLLER, DISK_BYTES, MEDIA, Emulated, network, served

pytestmark = pytest.mark.live

NAME = "qhdc-db1"


@dataclass(frozen=True)
class Bench:
    """The operator, the machine and its address."""

    twin: Twin
    machine: Emulated
    address: str
    key: Path

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return inside.run(self.twin, argv)

    def inside[T](self, function: Callable[[], T]) -> T:
        return inside.call(self.twin.netns_path(), function)

    def play(self, *more: str) -> subprocess.CompletedProcess[str]:
        """metal.yml, as an operator runs it."""
        playbook = str(CLONE / "scripts/playbooks/metal.yml")
        inventory = str(CLONE / "inventories/prod/hosts.py")
        return self.run("ansible-playbook", "-i", inventory, playbook, "--limit", NAME, *more)

    def ssh(self, command: str) -> str:
        options = {
            "UserKnownHostsFile": hardware.folder() / "known_hosts",
            "HostKeyAlias": NAME,
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "ConnectTimeout": "10",
        }
        words = [f"-o{name}={value}" for name, value in options.items()]
        done = self.run("ssh", "-F", "none", *words, "-i", str(self.key), f"qhs@{self.address}", command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, figures: dict[str, float]) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("metal")
    estate = load("prod")
    operator = estate.operator("qhdc").texts()[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("ANSIBLE_CONFIG", str(CLONE / "ansible.cfg"))
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        twin = Twin("metal")
        machine = Emulated(NAME, folder, twin)
        key = make(folder / "operator")
        write_down(twin)
        image = disk.ensure(print)
        started = time.monotonic()
        medium.make(estate, NAME, key, print)
        figures["seconds a medium"] = round(time.monotonic() - started, 1)
        figures["MB of the disk image"] = round(image.bytes / 1e6)
        with network(twin, f"{operator}/20"), served(twin, machine, medium.folder()):
            yield Bench(twin, machine, estate.machines[NAME].management.address.texts()[0], key)


def write_down(twin: Twin) -> None:
    """hardware.yaml."""
    machine = {
        "controller": f"https://{CONTROLLER[0]}:{CONTROLLER[1]}",
        "system": NAME,
        "user": endpoint.USER,
        "password": str(endpoint.password(twin)),
        "certificate": str(endpoint.certificate(twin)),
        "ports": {"mgmt-ports": CARD},
    }
    hardware.folder().mkdir(parents=True)
    rack = {"media": f"http://{MEDIA[0]}:{MEDIA[1]}", "machines": {NAME: machine}}
    hardware.path().write_text(yaml.safe_dump(rack))


def test_a_medium_with_a_changed_byte_installs_nothing(bench: Bench, figures: dict[str, float]) -> None:
    path, image = medium.folder() / f"{NAME}.iso", disk.ensure(print).path.read_bytes()
    whole = path.read_bytes()
    at = whole.index(image[-100:])  # with its checksum: most of the rest is also in the kernel that the firmware starts
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    own = hardware.load().machine(NAME)
    bench.inside(lambda: media.insert(own.service, NAME, f"{hardware.load().media}/{NAME}.iso"))
    path.write_bytes(whole)
    bench.inside(lambda: power.force(own.service, NAME, on=True))
    assert "found other files than SHA256SUMS names" in bench.machine.says("qhs-install: refused", within=300)
    assert bench.machine.disk.stat().st_blocks == 0, "something was written"
    refused = bench.play()
    assert refused.returncode != 0
    assert f"{NAME} has power and does not answer on {bench.address}" in refused.stdout
    bench.inside(lambda: power.force(own.service, NAME, on=False))
    assert bench.inside(lambda: media.eject(own.service, NAME))
    figures["media refused"] = 1


def test_a_machine_is_installed_and_answers(bench: Bench, figures: dict[str, float]) -> None:
    asked = len(bench.machine.controller.asked)
    predicted = bench.play("--check")
    assert changes(predicted) == 5, predicted.stdout
    assert len(bench.machine.controller.asked) == asked, "check mode changed something"

    started = time.monotonic()
    done = bench.play()
    assert changes(done) == 5, done.stdout + done.stderr
    assert bench.ssh("hostname") == NAME
    figures["seconds from medium to login"] = round(time.monotonic() - started)
    assert bench.machine.controller.asked[asked:] == ["InsertMedia", "Boot", "Reset", "EjectMedia", "Reset"]
    assert changes(bench.play()) == 0, "a machine that answers is left as it is"

    assert bench.ssh("systemctl is-system-running --wait; systemctl --failed --plain --no-legend") == "running"
    assert bench.ssh("uname -r") == next((disk.ensure(print).image.path / "usr/lib/modules").iterdir()).name
    size = int(bench.ssh("findmnt --noheadings --bytes --output SIZE /"))
    assert size > 0.85 * DISK_BYTES, "its root did not grow with its disk"
    figures["failed units"] = 0


def changes(done: subprocess.CompletedProcess[str]) -> int:
    """What Ansible's recap says that changed."""
    return ansible.played(done.stdout, {NAME}, Path("its output"))[NAME]
