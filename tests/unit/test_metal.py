"""What is derived for a machine of metal: its partitions, its identity, its medium, and what its controller is told."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest
import yaml

from qhs import ansible
from qhs.errors import UserError
from qhs.folders import CLONE
from qhs.image import lock, recipe
from qhs.metal import hardware, identity, media, medium
from qhs.metal.hardware import Hardware
from qhs.power import Service
from qhs.twin import redfish
from qhs.twin.sshkey import make, public
from qhs.twin.topology import File
from stacks.model import Estate, load
from tests.rack import Controller

METAL = recipe.FOLDER / recipe.METAL
INSTALLER = METAL / "etc/initramfs-tools/scripts/qhs-install"
NAME, CARD = "qhdc-db1", "52:54:00:12:34:56"
MEDIUM = f"https://media.test/{NAME}.iso"


@pytest.fixture(scope="module")
def prod() -> Estate:
    return load("prod")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator's state folder for `prod`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    hardware.folder().mkdir(parents=True)
    return hardware.folder()


def cards(**more: object) -> Hardware:
    told = {"controller": "http://none.test", "system": NAME, "user": "power", "password": "p", "certificate": "c"}
    return Hardware.model_validate(told | {"ports": {"mgmt-ports": CARD}} | more)


def partitions() -> list[ConfigParser]:
    found = []
    for path in sorted((METAL / "usr/lib/repart.d").iterdir()):
        found.append(ConfigParser(interpolation=None))
        found[-1].read(path)
    return found


def test_the_root_is_the_last_partition_so_that_it_can_grow() -> None:
    esp, root = (one["Partition"] for one in partitions())
    assert (esp["Type"], root["Type"]) == ("esp", "root")
    assert esp["SizeMinBytes"] == esp["SizeMaxBytes"]
    assert "SizeMaxBytes" not in root
    assert esp["CopyFiles"] == f"{root['ExcludeFilesTarget'].rstrip('/')}:/", "the boot loader's files lie on one alone"


def test_what_is_started_and_mounted_are_the_partitions_that_are_made() -> None:
    esp, root = (one["Partition"] for one in partitions())
    mounts = [line.split() for line in (METAL / "etc/fstab").read_text().splitlines() if line[0] != "#"]
    assert {(where, what.removeprefix("PARTLABEL="), kind) for what, where, kind, *_ in mounts} == {
        ("/", root["Label"], root["Format"]),
        (esp["CopyFiles"].partition(":")[0], esp["Label"], esp["Format"]),
    }
    assert f"root=PARTLABEL={root['Label']}" in (METAL / "etc/kernel/cmdline").read_text().split()


def test_metal_has_more_than_the_golden_image_and_nothing_else() -> None:
    golden, metal = recipe.load(), recipe.metal()
    assert set(golden.packages) < set(metal.packages)
    assert not any(package.startswith(("linux-image", "systemd-boot")) for package in golden.packages)
    assert golden.pins.items() <= metal.pins.items()
    assert not lock.read(golden.lock).keys() & lock.read(metal.lock).keys(), "`qhs image lock` renews both"
    assert set(golden.masked) - set(metal.masked) == {"systemd-modules-load.service"}


def test_the_installers_kernel_is_told_who_has_signed() -> None:
    installed = (METAL / "etc/kernel/cmdline").read_text()
    told = medium.command_line(installed, "ssh-ed25519 AAAA", cards())
    assert told == "boot=qhs-install console=tty0 console=ttyS0,115200 qhs.signer=ssh-ed25519,AAAA"
    assert told.split()[0].removeprefix("boot=") == INSTALLER.name
    named = medium.command_line(installed, "ssh-ed25519 AAAA", cards(disk="/dev/nvme0n1"))
    assert named == f"{told} qhs.disk=/dev/nvme0n1"


def test_a_machine_is_itself_at_its_first_boot(prod: Estate) -> None:
    files = identity.files(prod, NAME, cards(), "ssh-ed25519 OPERATOR\n", "HOST KEY")
    assert files["/etc/hostname"].content == f"{NAME}\n"
    assert files["/etc/ssh/authorized_keys.d/qhs"].content == "ssh-ed25519 OPERATOR\n"
    assert files["/etc/ssh/ssh_host_ed25519_key"] == File(content="HOST KEY", mode=0o600)
    networks = {path: file.content for path, file in files.items() if path.startswith("/etc/systemd/network/")}
    assert networks.keys() == {f"/etc/systemd/network/10-mgmt-ports.{kind}" for kind in ("link", "network")}
    assert f"PermanentMACAddress={CARD}\n\n[Link]\nName=mgmt-ports\n" in networks[min(networks)]
    address = prod.machines[NAME].management.cidrs[0]
    assert "[Match]\nName=mgmt-ports\n" in networks[max(networks)]
    assert f"Address={address}\n" in networks[max(networks)]


@pytest.mark.parametrize(
    ("name", "ports", "said"),
    [
        ("qhdc-moon1", {"mgmt-ports": CARD}, "qhdc-moon1 is no machine of prod"),
        (NAME, {}, "found cards for no port; wanted mgmt-ports, and of others only data"),
        (NAME, {"data": CARD}, "found cards for data; wanted mgmt-ports, and of others only data"),
        (NAME, {"mgmt-ports": CARD, "dmz": CARD}, "found cards for mgmt-ports, dmz; wanted mgmt-ports"),
    ],
)
def test_cards_that_are_not_of_the_machine_are_refused(
    prod: Estate, name: str, ports: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        identity.files(prod, name, cards(ports=ports), "", "")


def test_hardware_that_is_not_written_down_is_refused(own: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*/prod/hardware\.yaml"):
        hardware.load()
    told = {"media": "https://media.test", "machines": {NAME: cards().model_dump(mode="json")}}
    hardware.path().write_text(yaml.safe_dump(told))
    assert hardware.load().machine(NAME) == cards()
    with pytest.raises(UserError, match=f"found {NAME}; wanted qhdc-db2"):
        hardware.load().machine("qhdc-db2")
    hardware.path().write_text(yaml.safe_dump(told).replace(CARD, "52:54"))
    with pytest.raises(UserError, match=r"hardware\.yaml: (.|\n)*mgmt-ports"):
        hardware.load()


def test_an_identity_is_roots_whoever_packs_it() -> None:
    packed = medium.archive({"/etc/a": File(content="a"), "/etc/key": File(content="é", mode=0o600)})
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        found = [(one.name, one.mode, one.uid, one.gid) for one in tar]
        assert found == [("etc/a", 0o644, 0, 0), ("etc/key", 0o600, 0, 0)]
        assert (content := tar.extractfile("etc/key"))
        assert content.read().decode() == "é"


CHECK = """
. "$1"
medium=$2
told() { echo "$SIGNER"; }
refuse() { echo "refused: $*"; exit 3; }
check
"""


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, str]:
    """A small medium, and who has signed it."""
    key = make(tmp_path / "key")
    (tmp_path / "medium").mkdir()
    (tmp_path / "medium/disk.raw.zst").write_text("disk")
    medium.sign(tmp_path / "medium", key)
    return tmp_path / "medium", public(key)


def installer_checks(where: Path, signer: str) -> str:
    """What the installer says of a medium before it touches a disk; nothing: that it is good."""
    done = subprocess.run(
        ["sh", "-euc", CHECK, "sh", str(INSTALLER), str(where)],
        env=os.environ | {"SIGNER": signer},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr
    return "".join(line for line in done.stdout.splitlines() if line.startswith("refused"))


def test_the_installer_takes_what_was_signed_and_nothing_else(signed: tuple[Path, str], tmp_path: Path) -> None:
    where, signer = signed
    assert installer_checks(where, signer) == ""
    other = public(make(tmp_path / "other"))
    assert "found another signature" in installer_checks(where, other)
    (where / "disk.raw.zst").write_text("other disk")
    assert "found other files" in installer_checks(where, signer)
    (where / "SHA256SUMS").write_text("")
    assert "found another signature" in installer_checks(where, signer)


class Off:
    """A machine without power."""

    def __init__(self) -> None:
        self.on = False

    def names(self) -> list[str]:
        return [NAME]

    def powered(self, name: str) -> bool:
        return self.on

    def reset(self, name: str, how: str) -> None:
        self.on = how == "On"


type Serve = Callable[[Literal["system", "manager"]], tuple[Controller, Service]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    servers = []

    def one(below: Literal["system", "manager"]) -> tuple[Controller, Service]:
        controller = Controller(Off(), below)
        handle = redfish.handler(controller.answer, redfish.password_is("power", "right"))
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handle))
        threading.Thread(target=servers[-1].serve_forever).start()
        (tmp_path / "password").write_text("right")
        url = f"http://127.0.0.1:{servers[-1].server_address[1]}"
        return controller, Service(url, "power", tmp_path / "password", tmp_path / "none")

    yield one
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("below", ["system", "manager"])
def test_a_medium_is_inserted_and_started_from_once(serve: Serve, below: Literal["system", "manager"]) -> None:
    controller, service = serve(below)
    assert media.holds(service, NAME) is None
    assert media.insert(service, NAME, MEDIUM)
    assert media.holds(service, NAME) == MEDIUM
    assert not media.insert(service, NAME, MEDIUM)
    assert controller.asked == ["InsertMedia", "Boot"]
    assert controller.start()
    assert not controller.start(), "the second start is from the disk"
    assert media.eject(service, NAME)
    assert not media.eject(service, NAME)
    assert controller.asked == ["InsertMedia", "Boot", "EjectMedia"]


def test_a_drive_that_holds_something_else_is_left_alone(serve: Serve) -> None:
    controller, service = serve("system")
    controller.image = "https://other.test/a.iso"
    with pytest.raises(UserError, match=r"holds https://other\.test/a\.iso; wanted none"):
        media.insert(service, NAME, MEDIUM)
    assert controller.asked == []


def test_check_mode_of_the_playbook_says_what_would_change_and_changes_nothing(serve: Serve, own: Path) -> None:
    controller, service = serve("manager")
    machine = cards(controller=service.url, password=str(service.password))
    rack = {"media": "https://media.test", "machines": {NAME: machine.model_dump(mode="json")}}
    hardware.path().write_text(yaml.safe_dump(rack))
    playbook, inventory = CLONE / "scripts/playbooks/metal.yml", CLONE / "inventories/prod/hosts.py"
    done = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), str(playbook), "--limit", NAME, "--check"],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        cwd=CLONE,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ansible.played(done.stdout, {NAME}, Path("its output")) == {NAME: 5}, done.stdout + done.stderr
    assert controller.asked == []
