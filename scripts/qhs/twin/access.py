"""How the operator reaches machines: a certificate of some hours, hosts known by their sites' authorities.

A machine that no role has been on yet takes the key behind the certificate, and is known by the host key that it was
made with; so is one whose host certificate has run out, or nothing could put it right.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from qhs import keepalive, pki, whole
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
    """What `ssh -F` takes, inside the twin's namespace: machines by name. The certificate in it is good for hours."""
    pki.current(pki.ensure(twin), key(twin), AUTOMATION_USER)
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
        f"  CertificateFile {key(twin)}-cert.pub\n"
        f"  UserKnownHostsFile {' '.join(map(str, (known_hosts(twin), *_authorities(twin, topology))))}\n"
        "  GlobalKnownHostsFile none\n"
        "  StrictHostKeyChecking yes\n"
        f"  ServerAliveInterval {keepalive.INTERVAL}\n"
        f"  ServerAliveCountMax {keepalive.COUNT}\n"
    ]
    hosts = []
    for machine in topology.managed:
        address = topology.management(machine)
        # Known by its name alone: that is what a site's authority is taken for.
        blocks.append(f"Host {machine.name}\n  HostName {address}\n  HostKeyAlias {machine.name}\n")
        hosts.append(f"{machine.name} {public(twin.machine(machine.name).host_key)}\n")
    whole.write(config(twin), "".join(blocks))
    whole.write(known_hosts(twin), "".join(hosts))


def _authorities(twin: Twin, topology: Topology) -> Iterator[Path]:
    """Where each site's authority for host certificates is written down once it is known."""
    for site in sorted({machine.site for machine in topology.managed}):
        yield pki.hosts(pki.folder(twin)) / site


def forget(twin: Twin) -> None:
    """The keys, and the authorities that vouch for them: no machine is left that believes either."""
    shutil.rmtree(folder(twin), ignore_errors=True)
    shutil.rmtree(pki.folder(twin), ignore_errors=True)
