"""No secret is where anyone could come across it (T-A09): files, streams, command lines, environments."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from qhs import names_access, pki, ruleset_access
from qhs.pki.credentials import PROVISIONER, PROVISIONERS
from qhs.twin import endpoint
from qhs.twin.names import Twin
from stacks.model.data import PASSWORDS, databases
from stacks.model.objects import IDENTITIES, STATE_USER, object_stores
from stacks.provider.storage.stores import PROVISIONER as PROVISIONER_OF_BUCKETS
from tests.twin.conftest import WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.trust import ESTATE, of_store, pins

pytestmark = pytest.mark.live

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----"
PEM = "-----BEGIN PRIVATE KEY-----"
LARGEST = 20_000_000
LINE = "algorithm: hmac-sha256"


def secrets(twin: Twin) -> dict[Path, bytes]:
    """Every file that is one, with the part of it that gives it away."""
    PROVISIONERS.current(pki.folder(twin), PROVISIONER)
    return {path: mark(path.read_text()) for path in (twin.state / "passphrase", endpoint.password(twin), *_keys(twin))}


def in_stores(twin: Twin) -> dict[Path, bytes]:
    """PINs of tokens, keys to the object stores and passwords of databases, which lie in no file at all: by where they
    stand in a store."""
    found = {Path(at) / name: text.encode() for at, own in pins(twin).items() for name, text in own.items()}
    for site in object_stores(ESTATE):
        for name in (PROVISIONER_OF_BUCKETS, STATE_USER):
            at = f"{IDENTITIES}/{name}"
            kept = of_store(twin, site, lambda there, at=at: there.secret(at))
            assert kept
            found[Path(site) / at] = str(kept["key"]).encode()
    for one in databases(ESTATE):
        at = f"{PASSWORDS}/{one.name}"
        kept = of_store(twin, one.sites[0], lambda there, at=at: there.secret(at))
        assert kept
        found[Path(one.sites[0]) / at] = str(kept["password"]).encode()
    return found


def mark(secret: str) -> bytes:
    """The secret itself; of a key the line that holds its seed: the others show what is public; of PINs the user's."""
    lines = secret.strip().splitlines()
    if lines[0].startswith("{"):
        return str(json.loads(secret)["pin"]).encode()
    return lines[{KEY: 4, PEM: 2}.get(lines[0], -1)].encode()


def _keys(twin: Twin) -> Iterator[Path]:
    yield twin.state / "ssh" / "id_ed25519"
    yield names_access.key_file(twin)
    yield ruleset_access.write(twin).with_name("id_ruleset")
    yield from (twin.state / "machines").glob("*/ssh_host_ed25519_key")
    yield from (
        twin.state / "pki" / name
        for name in ("root.key", "users", "provisioners.key", "provisioner.pem", "signatories.key", "stand-in.key")
    )
    # Made on the machines, and never to leave them.
    yield from (twin.state / "machines").glob("*/disk/upper/etc/qhs/tls/machine.key")
    yield from (twin.state / "machines").glob("*/disk/upper/var/lib/qhs-pki/*.key")
    yield from (twin.state / "machines").glob("*/disk/upper/var/lib/qhs-unseal/pins")


def test_the_mark_of_a_key_is_its_seed(tmp_path: Path) -> None:
    """An Ed25519 key is its seed; the rest of the file is known to whoever has the public half."""
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "qhs", "-f", file], check=True)
    key = load_ssh_private_key(file.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    # A line is 52.5 bytes of the file: this one begins in the middle of a group of four characters.
    assert key.private_bytes_raw() in base64.b64decode(mark(file.read_text())[2:])


def test_no_secret_is_anywhere_but_in_its_own_file(twin: Twin, from_nothing: WatchedUp, second_up: WatchedUp) -> None:
    marks, stored = secrets(twin), in_stores(twin)
    assert len(marks) >= 3
    assert len(stored) >= 4
    assert all(len(one) >= 32 for one in marks.values())
    found = [(path, owner) for path in _files(twin, from_nothing.started) for owner in _holds(marks | stored, path)]
    # A machine's own key lies on its disk too.
    homes = {(twin.machine(owner.parent.name).upper / "etc/ssh" / owner.name, owner) for owner in marks}
    # And the key of name updates on the machines that judge them.
    names = names_access.key_file(twin)
    homes |= {(path, names) for path in twin.state.glob("machines/*-infra1/disk/upper/etc/knot/keys.conf")}
    assert {(path, owner) for path, owner in found if path != owner} - homes == set()
    assert {owner for path, owner in found if path == owner} == marks.keys(), "the search finds what is there"


def test_no_machine_has_a_secret_in_its_journal(twin: Twin, hosts: Hosts, second_up: WatchedUp) -> None:
    """Ansible writes what a module is told into the journal of the machine, unless the module forbids it."""
    keepers = [name for name in hosts.names if name.endswith("-infra1")]
    marks = secrets(twin) | in_stores(twin)
    keepers += [name for name in hosts.names if "-hsm" in name or "-db" in name]
    for name, said in hosts.say("journalctl --no-pager --all --output=cat", keepers).items():
        assert "session opened" in said, "it is what is read"
        # Of no secret, so nothing but the module itself keeps it out.
        assert not name.endswith("-infra1") or LINE in (twin.machine(name).upper / "etc/knot/keys.conf").read_text()
        assert LINE not in said, f"{name}: the content of a file that a role wrote"
        assert [str(path) for path, one in marks.items() if one.decode() in said] == [], name


@pytest.mark.parametrize(
    ("which", "configures"),
    [("from_nothing", b"ansible-playbook"), ("second_up", b"/usr/bin/python3\0-I\0-\0")],
    ids=["from_nothing", "second_up"],
)
def test_no_secret_was_to_be_seen_meanwhile(
    which: str, configures: bytes, twin: Twin, request: pytest.FixtureRequest
) -> None:
    """The state's passphrase too: the engine gets the name of its file."""
    run: WatchedUp = request.getfixturevalue(which)
    marks = secrets(twin) | in_stores(twin)
    assert any(b"PULUMI_CONFIG_PASSPHRASE_FILE=" in shown for shown in run.processes), "the engine was not seen"
    assert any(configures in shown for shown in run.processes), "what configures machines was not seen"
    assert [str(path) for path, one in marks.items() if any(one in shown for shown in run.processes)] == []
    assert run.said
    assert [str(path) for path, one in marks.items() if one.decode() in run.said] == []


def _files(twin: Twin, since: float) -> Iterator[Path]:
    """The state, and what came to lie in /tmp meanwhile."""
    yield from (path for path in twin.state.rglob("*") if path.is_file() and not path.is_symlink())
    for path in Path("/tmp").rglob("*"):  # noqa: S108 - where leaks would lie
        try:
            if path.is_file() and path.stat().st_mtime >= since and path.stat().st_size <= LARGEST:
                yield path
        except OSError:
            continue  # gone meanwhile


def _holds(marks: dict[Path, bytes], path: Path) -> Iterator[Path]:
    try:
        text = path.read_bytes()
    except OSError:
        return
    yield from (owner for owner, one in marks.items() if one in text)
