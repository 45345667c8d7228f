"""The seal key of a secret store, on hosts of HSMs with the genuine SoftHSM of the machine image."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qhs import image
from tests.kernel.certified import certify, new_root
from tests.kernel.hsm_host import LIBRARY, TOKENS, USER, HsmHost

HOSTS, NODE, STRANGER = ("hsm1", "hsm2"), "infra1", "app1"
KEPT = "var/lib/qhs-unseal"
SIZE = 32


class Unsealing(HsmHost):
    """Where `qhs_unseal.py` is asked as root, as Ansible and systemd do."""

    def prepare(self, name: str, root_of_all: Path) -> None:
        with (self.root / "etc/passwd").open("a") as users:
            users.write(f"qhs-hsm:x:{USER}:{USER}::/:/bin/sh\n")
        (self.root / "etc/qhs/hsm/unseal-clients.json").write_text(json.dumps([*HOSTS, NODE]))
        certify(self.root / "etc/qhs/tls", root_of_all, name)

    def program(self, verb: str) -> list[str]:
        return ["/usr/sbin/chroot", str(self.root), "/usr/bin/python3", f"/{LIBRARY}/qhs_unseal.py", verb]

    def unseal(self, verb: str, given: Any = None) -> subprocess.CompletedProcess[str]:
        text = json.dumps(given)
        return subprocess.run(self.program(verb), input=text, capture_output=True, text=True, check=False, timeout=60)

    def told(self, verb: str, given: Any = None) -> Any:
        done = self.unseal(verb, given)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    def refused(self, verb: str, given: Any = None) -> str:
        done = self.unseal(verb, given)
        assert done.returncode == 1, done.stdout
        return done.stderr

    def given(self, tls: Path) -> tuple[bytes, str]:
        """What whoever has the certificates in a folder is told, and what the host says of it."""
        context = ssl.create_default_context(cafile=str(tls / "ca.crt"))
        context.check_hostname = False
        if (tls / "machine.crt").exists():
            context.load_cert_chain(tls / "machine.crt", tls / "machine.key")
        here, there = socket.socketpair()
        with here, there:
            serving = subprocess.Popen(self.program("serve"), stdin=there, stderr=subprocess.PIPE, text=True)
            there.close()
            found = b""
            try:
                with context.wrap_socket(here) as secure:
                    while part := secure.recv(1024):
                        found += part
            except ssl.SSLError:
                pass
            return found, serving.communicate(timeout=60)[1]


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_root(tmp_path_factory.mktemp("estate") / "root")


@pytest.fixture
def hosts(estate: Path, tmp_path: Path) -> Iterator[list[Unsealing]]:
    """Two that are asked for nothing yet."""
    root = image.ensure(print).path
    with Unsealing.at(tmp_path / "hsm1", root) as first, Unsealing.at(tmp_path / "hsm2", root) as second:
        pair = [first, second]
        for name, host in zip(HOSTS, pair, strict=True):
            host.prepare(name, estate)
        yield pair


def shared(first: Unsealing, *others: Unsealing, new: bool) -> None:
    publics = {str(number): host.told("public")["public"] for number, host in enumerate(others)}
    for number, encrypted in first.told("share", {"new": new, "publics": publics}).items():
        others[int(number)].told("take", {"encrypted": encrypted})


@pytest.fixture
def pair(hosts: list[Unsealing]) -> list[Unsealing]:
    """Two that keep the same key."""
    hosts[0].told("public")
    shared(hosts[0], *hosts, new=True)
    return hosts


def certificates(folder: Path, name: str, root_of_all: Path) -> Path:
    certify(folder / name, root_of_all, name)
    return folder / name


def test_every_host_gives_a_node_the_same_key(pair: list[Unsealing], estate: Path, tmp_path: Path) -> None:
    node = certificates(tmp_path, NODE, estate)
    answers = {host.given(node)[0] for host in pair}
    (answer,) = answers
    assert answer.startswith(b"key:")
    assert len(answer) == len(b"key:") + SIZE
    assert [host.unseal("check").stdout for host in pair] == ["", ""]


def test_no_disk_has_the_key_in_clear_and_the_pin_is_for_root_alone(
    pair: list[Unsealing], estate: Path, tmp_path: Path
) -> None:
    key = pair[0].given(certificates(tmp_path, NODE, estate))[0].removeprefix(b"key:")
    for host in pair:
        files = [path for place in (KEPT, TOKENS, "etc", "run") for path in (host.root / place).rglob("*")]
        contents = [path.read_bytes() for path in files if path.is_file() and not path.is_symlink()]
        assert not [one for one in contents if key in one or key.hex().encode() in one]
        pins = (host.root / KEPT / "pins").stat()
        assert (stat.S_IMODE(pins.st_mode), pins.st_uid) == (0o400, 0)


def test_nobody_else_is_given_it(pair: list[Unsealing], estate: Path, tmp_path: Path) -> None:
    answer, said = pair[0].given(certificates(tmp_path, STRANGER, estate))
    assert answer == b"refused: not a node of this site's secret store"
    assert f"{STRANGER} is no node of this site's secret store" in said
    foreign = certificates(tmp_path, NODE, new_root(tmp_path / "foreign"))
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    for own in (foreign, nothing):
        (own / "ca.crt").write_bytes((estate / "root.crt").read_bytes())
        answer, said = pair[0].given(own)
        assert answer == b""
        assert "serve: " in said


def test_a_key_is_made_once_and_never_replaced(pair: list[Unsealing]) -> None:
    first, second = pair
    publics = {"second": second.told("public")["public"]}
    assert "found one; wanted the other" in first.refused("share", {"new": True, "publics": publics})
    (first.root / KEPT / "kept").rename(first.root / KEPT / "away")
    other = first.told("share", {"new": True, "publics": publics})["second"]
    before = (second.root / KEPT / "kept").read_bytes()
    assert "another seal key" in second.refused("take", {"encrypted": other})
    assert (second.root / KEPT / "kept").read_bytes() == before


def test_a_host_whose_device_is_new_gets_the_key_of_the_others(
    pair: list[Unsealing], estate: Path, tmp_path: Path
) -> None:
    first, second = pair
    node = certificates(tmp_path, NODE, estate)
    key = first.given(node)
    for token in (second.root / TOKENS).iterdir():
        shutil.rmtree(token)
    told = second.unseal("check")
    assert told.returncode == 2
    assert "no token of this label" in told.stdout
    assert second.given(node)[0] == b""
    assert second.told("public")["kept"] == "lost"
    shared(first, second, new=False)
    assert second.given(node) == key
