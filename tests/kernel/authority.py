"""An authority for names as the role `dns` configures it: the image's knotd in namespaces that nobody else sees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader

from qhs import image
from qhs.inventory import inventory
from stacks.model import load
from stacks.provider.record.link import AUTHORITY
from tests.twin.waiting import await_

ROLE = Path(__file__).parents[2] / "roles/dns"
MACHINE = "qhdc-infra1"
# Plays ssh: on the machine, carry what comes to where the last argument but two says.
SSH = """#!{python}
import json, os, sys
where = sys.argv[sys.argv.index("-W") + 1].split(":")
process = json.load(open({places!r}))[sys.argv[-1]]
os.execvp("nsenter", ["nsenter", f"--target={{process}}", "--net", sys.executable, {carry!r}, *where])
"""
CARRY = """
import os, socket, sys, threading
try:
    stream = socket.create_connection((sys.argv[1], int(sys.argv[2])))
except OSError as error:
    sys.exit(f"channel 0: open failed: {error.strerror}")
def carry(take, give):
    while part := take():
        give(part)
    os._exit(0)
threading.Thread(target=carry, args=(lambda: os.read(0, 65536), stream.sendall)).start()
carry(lambda: stream.recv(65536), lambda part: os.write(1, part))
"""


class Authority:
    """knotd, and the tools of it, on a machine of their own."""

    def __init__(self, folder: Path, key: str) -> None:
        self._root = image.ensure(print).path
        given: dict[str, Any] = inventory(load("twin"))["_meta"]["hostvars"][MACHINE]
        given |= yaml.safe_load((ROLE / "vars/main.yml").read_text())
        given |= {"dns_update_key": key, "dns_authorized_key": ""}
        self._etc = folder / "etc-knot"
        environment = Environment(loader=FileSystemLoader(ROLE / "templates/etc/knot"), trim_blocks=True)  # noqa: S701 - no HTML
        for name in environment.list_templates():
            file = self._etc / name.removesuffix(".j2")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(environment.get_template(name).render(given) + "\n")
        (folder / "var").mkdir()
        own = given["dns_authorities"]["qhdc"]["addresses"]
        steps = [
            "mount -t tmpfs none /run",
            "mkdir -p /run/knot /run/etc/knot",
            f"mount --bind {self._etc} /run/etc/knot",
            "mount --rbind /run/etc /etc",
            f"mount --bind {folder / 'var'} /var/lib",
            "mkdir -p /var/lib/knot",
            "ip link set lo up",
            *(f"ip address add {address} dev lo nodad" for address in own),
            "echo up",
            "exec sleep 600",
        ]
        self._init = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", " && ".join(steps)], stdout=subprocess.PIPE, text=True
        )
        assert self._init.stdout
        assert self._init.stdout.readline() == "up\n"
        self._knotd: subprocess.Popen[str] | None = None
        self.start()

    @property
    def process(self) -> int:
        return self._init.pid

    def start(self) -> None:
        self._knotd = subprocess.Popen(self._inside("usr/sbin/knotd", "-c", "/etc/knot/knot.conf"), text=True)
        await_(lambda: "SOA" in self.dig("qhdc.qhs.internal", "SOA", "+noall", "+answer"), 10)

    def stop(self) -> None:
        if self._knotd:
            self._knotd.terminate()
            self._knotd.wait()
            self._knotd = None

    def end(self) -> None:
        self.stop()
        self._init.kill()
        self._init.wait()

    def dig(self, *words: str) -> str:
        asked = self._inside("usr/bin/kdig", f"@{AUTHORITY.partition(':')[0]}", "+retry=0", "+timeout=1", *words)
        return subprocess.run(asked, capture_output=True, text=True, check=False, timeout=20).stdout

    def by_hand(self, key: str, *changes: str) -> None:
        """As somebody on the machine would, who has the key."""
        where = [f"server {AUTHORITY.replace(':', ' ')}", f"key hmac-sha256:qhs-update {key}", "zone qhdc.qhs.internal"]
        text = "\n".join([*where, *(f"update {one}" for one in changes), "send\n"])
        knsupdate = self._inside("usr/bin/knsupdate")
        done = subprocess.run(knsupdate, input=text, capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 0, done.stdout + done.stderr

    def _inside(self, program: str, *arguments: str) -> list[str]:
        libraries = f"{self._root}/usr/lib/x86_64-linux-gnu"
        own = [f"{self._root}/usr/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, f"{self._root}/{program}"]
        return ["nsenter", f"--target={self.process}", "--net", "--mount", *own, *arguments]


def stand_in_for_ssh(folder: Path, machines: Path) -> Path:
    """A folder for PATH. `machines`: a file with the process of each machine."""
    folder.mkdir()
    carry, ssh = folder / "carry.py", folder / "ssh"
    carry.write_text(CARRY)
    ssh.write_text(SSH.format(python=sys.executable, places=str(machines), carry=str(carry)))
    ssh.chmod(0o755)
    return folder
