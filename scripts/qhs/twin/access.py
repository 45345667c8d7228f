"""How the operator reaches machines: one SSH key, every host key known beforehand, one configuration."""

import shutil
from pathlib import Path

from qhs.image.recipe import AUTOMATION_USER
from qhs.twin.names import Twin
from qhs.twin.sshkey import make, public
from qhs.twin.topology import Topology


def folder(twin: Twin) -> Path:
    return twin.state / "ssh"


def key(twin: Twin) -> Path:
    """The operator's private key, made on first use."""
    return make(folder(twin) / "id_ed25519")


def operator_public_key(twin: Twin) -> str:
    return public(key(twin)) + "\n"


def config(twin: Twin) -> Path:
    """What `ssh -F` takes, inside the twin's namespace: machines by name."""
    return folder(twin) / "config"


def known_hosts(twin: Twin) -> Path:
    return folder(twin) / "known_hosts"


def write(twin: Twin, topology: Topology) -> None:
    """Write the configuration and the host keys of every machine whose disk is made."""
    blocks = [
        "Host *\n"
        f"  User {AUTOMATION_USER}\n"
        f"  IdentityFile {key(twin)}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {known_hosts(twin)}\n"
        "  GlobalKnownHostsFile none\n"
        "  StrictHostKeyChecking yes\n"
    ]
    hosts = []
    for machine in topology.managed:
        address = topology.management(machine)
        blocks.append(f"Host {machine.name}\n  HostName {address}\n")
        hosts.append(f"{machine.name},{address} {public(twin.machine(machine.name).host_key)}\n")
    _replace(config(twin), "".join(blocks))
    _replace(known_hosts(twin), "".join(hosts))


def forget(twin: Twin) -> None:
    shutil.rmtree(folder(twin), ignore_errors=True)


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text)
    fresh.rename(path)
