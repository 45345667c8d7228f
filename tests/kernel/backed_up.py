"""A genuine server of the machine image, and two genuine object stores for its copies.

Who leads and what the secret store has are told here: the genuine ones are asked on the twin.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from qhs.twin import inside
from stacks.components.site_objects import all_of
from stacks.model.backups import LOCKED
from stacks.provider.storage.client import Kept, Objects, ObjectsError
from tests.kernel.certified import certify, new_root
from tests.kernel.over_image import over_image
from tests.twin.waiting import await_

ROLES = Path(__file__).parents[2] / "roles"
BIN, DATA, STATE = "/usr/lib/postgresql/17/bin", "var/lib/qhs-database/main", "var/lib/qhs-backup"
PROGRAMS = [("pki", "secret_store"), ("database", "qhs_database")] + [
    ("database_backup", name) for name in ("qhs_backup", "qhs_backup_compare", "qhs_backup_restore")
]
NAMES = {"own": "object-store.qhdc.qhs.internal", "other": "object-store-2.qhdc.qhs.internal"}
ADDRESSES = {"own": "10.16.81.1", "other": "10.16.81.2"}
BUCKET, KEY, PASS = "backups-qhdc", "key-of-this-cluster", "what-encrypts"
ADMITTED = {
    "provisioner": ("made-here", ["Admin"]),
    BUCKET: (KEY, all_of(BUCKET)),
    "backups-ndc": ("key-of-another", all_of("backups-ndc")),
}
AS_POSTGRES = """
mount --bind /dev "$0/dev"; mount -t proc proc "$0/proc"; exec /usr/sbin/chroot --userspec=postgres:postgres "$0" "$@"
"""
ASK = """
import sys
sys.path[:0] = ["/usr/local/lib/qhs-pki", "/usr/local/lib/qhs-database", "/usr/local/lib/qhs-database-backup"]
import qhs_backup
*sys.argv, role, encrypts, key = sys.argv
qhs_backup.status = lambda: {"role": role, "timeline": 1}
qhs_backup.of_any = lambda *_: (encrypts, key)
sys.exit(qhs_backup.main())
"""


@dataclass
class Site:
    """A machine with the databases, and both object stores."""

    root: Path
    networks: dict[str, Path]
    stores: dict[str, subprocess.Popen[bytes]]
    start: Callable[[str], subprocess.Popen[bytes]]

    def command(self, *command: str) -> list[str]:
        """As who has the databases."""
        network = f"--net={self.networks['own']}"
        return ["nsenter", network, "--", "unshare", "--mount", "sh", "-ec", AS_POSTGRES, str(self.root), *command]

    def said(self, *command: str) -> str:
        done = subprocess.run(self.command(*command), capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def program(self, verb: str, role: str = "primary") -> str:
        """What the role's program complains of."""
        command = self.command("python3", "-B", "-c", ASK, verb, role, PASS, KEY)
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    def sql(self, statement: str, socket: str = "/run/qhs-database") -> str:
        return self.said("psql", "-h", socket, "-d", "postgres", "-AtXqc", statement).strip()

    def pg_backrest(self, *words: str) -> str:
        return self.said("pgbackrest", "--config=/run/qhs-backup/pgbackrest.conf", "--stanza=main", *words)

    def kinds(self, store: int) -> list[str]:
        (told,) = json.loads(self.pg_backrest(f"--repo={store}", "--output=json", "info"))
        return [one["type"] for one in told["backup"]]

    def s3[T](self, store: str, ask: Callable[[Any], T], who: str = "provisioner") -> T:
        s3 = boto3.client(
            "s3", endpoint_url=f"https://{ADDRESSES[store]}", region_name="qhs",
            verify=str(self.root / "etc/qhs/tls/ca.crt"),
            aws_access_key_id=who, aws_secret_access_key=ADMITTED[who][0],
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )  # fmt: skip
        return inside.call(self.networks["own"], lambda: ask(s3))


@contextmanager
def network() -> Iterator[Path]:
    """One of its own, as long as somebody is in it."""
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as holder:
        try:
            own = Path(f"/proc/{holder.pid}/ns/net")
            await_(lambda: own.readlink() != Path("/proc/self/ns/net").readlink(), 10)
            subprocess.run(["nsenter", f"--net={own}", "ip", "link", "set", "lo", "up"], check=True)
            yield own
        finally:
            holder.kill()


def join(networks: dict[str, Path]) -> None:
    """Put a wire between both."""
    first, second = (str(path).split("/")[2] for path in networks.values())
    ip = ["nsenter", f"--net={networks['own']}", "ip"]
    subprocess.run([*ip, "link", "add", "w1", "type", "veth", "peer", "name", "w2"], check=True)
    subprocess.run([*ip, "link", "set", "w2", "netns", f"/proc/{second}/ns/net"], check=True)
    assert first != second
    for wire, (name, path) in zip(("w1", "w2"), networks.items(), strict=True):
        ip = ["nsenter", f"--net={path}", "ip"]
        subprocess.run([*ip, "address", "add", f"{ADDRESSES[name]}/24", "dev", wire], check=True)
        subprocess.run([*ip, "link", "set", wire, "up"], check=True)


def prepare(root: Path, certificates: Path) -> None:
    """What the roles bring, and who may come into the stores."""
    certify(root / "etc/qhs/tls", certificates, *NAMES.values(), *ADDRESSES.values())
    hosts = "".join(f"{ADDRESSES[name]} {NAMES[name]}\n" for name in NAMES)
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
    for role, name in PROGRAMS:
        at = root / "usr/local/lib" / f"qhs-{role.replace('_', '-')}"
        at.mkdir(parents=True, exist_ok=True)
        (at / f"{name}.py").write_text((ROLES / role / "files" / f"{name}.py").read_text())
    stores = [{"number": n, "site": one, "name": name} for n, (one, name) in enumerate(NAMES.items(), 1)]
    settings = {"nodes": [], "way_in": "", "bucket": BUCKET, "stores": stores, "days": 28, "queue_mib": 64}
    (root / "etc/qhs/database-backup").mkdir()
    (root / "etc/qhs/database-backup/backup.json").write_text(json.dumps(settings))
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": key}], "actions": rights}
        for name, (key, rights) in ADMITTED.items()
    ]
    (root / "etc/qhs/admitted.json").write_text(json.dumps({"identities": identities}))
    own = ["/run/qhs-database", "/run/qhs-backup", "/var/lib/qhs-database", f"/{STATE}"]
    for path in own:
        (root / path.lstrip("/")).mkdir(parents=True)
    subprocess.run(["/usr/sbin/chroot", root, "chown", "postgres:", *own], check=True)


def store(root: Path, networks: dict[str, Path], name: str) -> subprocess.Popen[bytes]:
    """Starts one, with a folder for temporary files of its own."""
    (root / f"var/lib/objects-{name}").mkdir(exist_ok=True)
    weed = [
        "weed", "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir=/var/lib/objects-{name}",
        "-master.telemetry=false", "-master.electionTimeout=1s", "-volume.max=0", "-volume.preStopSeconds=0", "-filer",
        "-s3", "-s3.config=/etc/qhs/admitted.json", f"-s3.ip.bind={ADDRESSES[name]}", "-s3.port=443", "-s3.iam=false",
        "-s3.cert.file=/etc/qhs/tls/machine.crt", "-s3.key.file=/etc/qhs/tls/machine.key", "-s3.port.iceberg=0",
        "-s3.port.lance=0", "-s3.autoCreateBucket=false",
    ]  # fmt: skip
    enter = 'mount -t tmpfs none "$0/tmp"; mount --bind /dev "$0/dev"; exec /usr/sbin/chroot "$0" "$@"'
    command = ["nsenter", f"--net={networks[name]}", "--", "unshare", "--mount", "sh", "-ec", enter, root, *weed]
    environment = {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
    with (root / f"log-{name}").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def archive_command() -> str:
    """As the role has Patroni tell the server."""
    text = (ROLES / "database/templates/etc/qhs/database/patroni.json.j2").read_text()
    (found,) = re.findall(r'"archive_command": "([^"]+)"', text)
    return str(found)


def room(s3: Any) -> None:
    """As the stack of a site makes it."""
    there = Objects("qhdc", s3)
    there.make(BUCKET, locked=True)
    there.keep_versions(BUCKET, keep=True)
    there.keep(BUCKET, Kept(days=LOCKED))
    assert (there.versioned(BUCKET), there.kept(BUCKET)) == (True, Kept(days=LOCKED))


@contextmanager
def backed_up(folder: Path) -> Iterator[Site]:
    """Both until the block ends, in a folder."""
    with ExitStack() as stack:
        root = stack.enter_context(over_image(folder / "site"))
        networks = {name: stack.enter_context(network()) for name in NAMES}
        join(networks)
        prepare(root, new_root(folder / "pki"))
        here = Site(root, networks, {}, lambda name: store(root, networks, name))
        for name in NAMES:
            here.stores[name] = here.start(name)
        stack.callback(lambda: [one.kill() for one in here.stores.values()])
        here.said(f"{BIN}/initdb", "-D", f"/{DATA}", "--auth=trust", "--locale=C.UTF-8", "--data-checksums")
        with served(
            here, DATA, "run/qhs-database", "-c", "archive_mode=on", "-c", f"archive_command={archive_command()}"
        ):
            for name in NAMES:
                await_(partial(made, here, name), 60)
            yield here


def made(here: Site, name: str) -> bool:
    try:
        here.s3(name, room)
    except ObjectsError as error:
        print(error)
        return False
    return True


@contextmanager
def served(here: Site, data: str, socket: str, *more: str) -> Iterator[None]:
    command = here.command(f"{BIN}/postgres", "-D", f"/{data}", "-k", f"/{socket}", "-c", "listen_addresses=", *more)
    with (here.root / "log-server").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            await_((here.root / socket / ".s.PGSQL.5432").exists, 60)
            yield
        finally:
            server.send_signal(signal.SIGINT)


def ready(site: Site, socket: str) -> bool:
    command = site.command("psql", "-h", socket, "-d", "postgres", "-AtXqc", "select pg_is_in_recovery()")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "f"
