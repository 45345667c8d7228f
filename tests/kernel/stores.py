"""The machines with the object stores of two sites: the genuine store on each, and what copies one to the other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from qhs.twin import inside
from stacks.model import certificates
from tests.kernel.certified import certify
from tests.kernel.clusters import Wires, namespace, program, rendered
from tests.kernel.over_image import over_image
from tests.twin.waiting import await_

ADDRESSES = {"qhdc-storage1": "10.16.0.1", "ndc-storage1": "10.16.0.2", "hall-infra1": "10.16.0.3"}
SITES = ("qhdc", "ndc")
WHO, KEY, S3 = "provisioner", "of-a-test", 8333
BUCKETS, ARCHIVE, OWN = ("hop-thu", "ho-so", "luu-tru", "tin-noi-bo"), "luu-tru", "backups-qhdc"
TENANT = "mail"
MAY = {WHO: ["Admin"], TENANT: [f"{action}:{BUCKETS[0]}" for action in ("Read", "Write", "List")]}
PROGRAM = "usr/local/lib/qhs-object-sync/qhs_object_sync.py"
FILES = (
    *(("object_sync", f"etc/qhs/object-sync/{file}") for file in ("front.cfg", "way.cfg", "sync.json")),
    ("object_store", "etc/qhs/objects/haproxy.cfg"),
)
# As systemd hands sockets on: bound in one network, from 3 on, for a program of another.
HANDS_ON = (
    "import os, socket, sys\n"
    "ports, rest = sys.argv[1].split(','), sys.argv[2:]\n"
    "made = [socket.create_server((one.split(':')[0], int(one.split(':')[1]))) for one in ports]\n"
    "high = [os.dup2(one.fileno(), 64 + number) for number, one in enumerate(made)]\n"
    "[os.dup2(one, 3 + number) for number, one in enumerate(high)]\n"
    "os.closerange(3 + len(made), 128)\n"
    "os.execvp(rest[0], rest)\n"
)


class Site:
    """The machine of a site: the store in a network that nobody else is in, and the network of the machine."""

    def __init__(self, site: str, root: Path, own: Path, network: Path, within: Path) -> None:
        self.site, self.name, self.root, self.network, self._within = site, f"{site}-storage1", root, network, within
        certify(root / "etc/qhs/tls", own, self.name, ADDRESSES[self.name], site=site)
        other = next(one for one in SITES if one != site)
        peer = {"site": other, "name": f"{other}-storage1", "address": ADDRESSES[f"{other}-storage1"]}
        self.ports = (18100, 18101)
        given: dict[str, Any] = {
            "qhs_site": site,
            "object_sync_addresses": [ADDRESSES[self.name]],
            "object_sync_first_socket": 3,
            "object_sync_peers": [peer | {"authority": certificates.title(other), "ports": self.ports}],
            "object_sync_doors": [],
            "object_sync_buckets": BUCKETS,
            "object_sync_archives": [ARCHIVE],
            "object_sync_excluded": [OWN],
            "object_sync_may_seconds": 60,
            "object_store_addresses": [ADDRESSES[self.name]],
            "object_store_first_socket": 3,
            "object_store_estate": [WHO],
        }
        program(root, "object_sync", PROGRAM)
        for place in ("run/qhs-objects", "run/qhs-object-sync", "var/lib/qhs-object-sync", "var/lib/qhs-objects"):
            (root / place).mkdir(parents=True)
        (root / "etc/qhs/object-sync").mkdir(parents=True)
        subprocess.run(["mknod", "--mode=666", root / "dev/null", "c", "1", "3"], check=True)
        (root / "etc/qhs/objects").mkdir(parents=True)
        for role, at in FILES:
            (root / at).write_text(rendered(role, at, **given))
        self.admit(MAY)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def admit(self, who: dict[str, list[str]]) -> None:
        """Those who may come in, and what for: told to the store when it is started, or reloaded."""
        admitted = [
            {"name": one, "credentials": [{"accessKey": one, "secretKey": KEY}], "actions": actions}
            for one, actions in who.items()
        ]
        (self.root / "run/qhs-objects/admitted.json").write_text(json.dumps({"identities": admitted}))

    def reload(self) -> None:
        """The store, as its unit has it."""
        self._running["store"].send_signal(signal.SIGHUP)

    def start(self) -> None:
        """The store as its unit has it, and haproxy before it and behind it."""
        unit = rendered("object_store", "etc/systemd/system/qhs-objects.service").replace("\\\n", " ")
        said = dict(line.split("=", 1) for line in unit.splitlines() if line.startswith(("ExecStart=", "Environment=")))
        self._begin("store", self.within("/usr/bin/env", said["Environment"], *said["ExecStart"].split()))
        await_(self.answers, 60)
        (self.root / "run/qhs-objects/open.sock").symlink_to("s3.sock")
        shown = self.within("/usr/sbin/haproxy", "-db", "-f", "/etc/qhs/objects/haproxy.cfg")
        self._begin("shown", self._handed(self.network, f"{ADDRESSES[self.name]}:443", shown))
        self._begin("ask", self.within(f"/{PROGRAM}", "ask"))
        front = self.within("/usr/sbin/haproxy", "-db", "-f", "/etc/qhs/object-sync/front.cfg")
        self._begin("front", self._handed(self.network, f"{ADDRESSES[self.name]}:9000", front))
        way = [
            "nsenter",
            f"--net={self.network}",
            *self._chroot("/usr/sbin/haproxy", "-db", "-f", "/etc/qhs/object-sync/way.cfg"),
        ]
        self._begin("way", self._handed(self._within, ",".join(f"127.0.0.1:{one}" for one in self.ports), way))
        self.follow()

    def follow(self) -> None:
        self._begin("follow", self.within(f"/{PROGRAM}", "follow"))

    def told(self, holder: str, since: float = -3600) -> None:
        """Which site has the lease, from now on; or as it was said some seconds ago."""
        new = self.root / "run/qhs-object-sync/lease.new"
        new.write_text(json.dumps({"holder": holder, "at": time.time() - since}))
        new.rename(new.with_suffix(".json"))

    def cut_off(self) -> None:
        """Its machine from the other."""
        self._link("down")

    def joined(self) -> None:
        self._link("up")

    def _link(self, state: str) -> None:
        subprocess.run(["nsenter", f"--net={self.network}", "ip", "link", "set", "eth0", state], check=True)

    def crash(self) -> None:
        """What follows, all of it, at once."""
        listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
        mine = self._running.pop("follow")
        children = [line.split()[0] for line in listed.splitlines() if line.split()[1] == str(mine.pid)]
        subprocess.run(["kill", "-KILL", str(mine.pid), *children], check=True)
        mine.wait()

    def end(self) -> None:
        if "follow" in self._running:
            self.crash()
        for one in self._running.values():
            one.kill()
            one.wait()

    # --- what it is asked ---
    def s3[T](self, ask: Callable[[Any], T]) -> T:
        return inside.call(self._within, lambda: ask(client()))

    def shows[T](self, ask: Callable[[Any], T], who: str = TENANT) -> T:
        """Where everybody asks, and not beside what stands before the store."""
        return inside.call(self.network, lambda: ask(client(f"https://{ADDRESSES[self.name]}", who)))

    def answers(self) -> bool:
        try:
            return bool(self.s3(lambda one: one.list_buckets()))
        except (BotoCoreError, ClientError):
            return False

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "run/qhs-object-sync/status.json").read_text())
        return found

    def log(self, what: str) -> str:
        return (self.root / f"var/log/{what}.log").read_text()

    def within(self, *words: str) -> list[str]:
        """A command line that runs another one where the store is."""
        return ["nsenter", f"--net={self._within}", *self._chroot(*words)]

    def _chroot(self, *words: str) -> list[str]:
        return ["/usr/sbin/chroot", str(self.root), *words]

    def _handed(self, network: Path, at: str, command: list[str]) -> list[str]:
        return ["nsenter", f"--net={network}", sys.executable, "-c", HANDS_ON, at, *command]

    def _begin(self, what: str, command: list[str]) -> None:
        with (self.root / f"var/log/{what}.log").open("ab") as log:
            self._running[what] = subprocess.Popen(command, stdout=log, stderr=log)


def client(at: str = f"http://127.0.0.1:{S3}", who: str = WHO) -> Any:
    """By an address, which no certificate here is for."""
    plain = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    given = {"aws_access_key_id": who, "aws_secret_access_key": KEY, "region_name": "x", "config": plain}
    return boto3.client("s3", endpoint_url=at, verify=False, **given)


@contextmanager
def two_sites(own: Path, wires: Wires, folder: Path) -> Iterator[dict[str, Site]]:
    """By site, until the block ends; nobody knows yet who has the lease."""
    with ExitStack() as stack:
        found = {}
        for site in SITES:
            root = stack.enter_context(over_image(folder / site))
            alone = Path(f"/proc/{stack.enter_context(namespace())}/ns/net")
            subprocess.run(["nsenter", f"--net={alone}", "ip", "link", "set", "lo", "up"], check=True)
            found[site] = one = Site(site, root, own, wires.networks[f"{site}-storage1"], alone)
            stack.callback(one.end)
            one.start()
        yield found
