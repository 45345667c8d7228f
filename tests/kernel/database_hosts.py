"""A machine with the databases of a site, on a root of the machine image: Patroni, the guard, and the store of both."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stacks.model.lease import READ_ONLY_AFTER
from tests.kernel.clusters import Cluster, Member, Wires, program, rendered
from tests.kernel.leases import ADDRESSES, HOLDERS, MEMBERS
from tests.kernel.over_image import over_image
from tests.twin.waiting import await_

GUARD = "usr/local/lib/qhs-lease-guard/qhs_lease_guard.py"
DATABASE, SITE, LINE = (f"usr/local/lib/qhs-database/qhs_database{name}.py" for name in ("", "_site", "_timeline"))
AS_POSTGRES = "setpriv --reuid=postgres --regid=postgres --clear-groups --"
# As the units do it: each is started again, whatever it ends by, and none sees processes of another machine.
UNITS = f"""
mount --bind /dev $0/dev; mount -t proc proc $0/proc; exec /usr/sbin/chroot $0 sh -c '
while :; do {AS_POSTGRES} /{GUARD} run; sleep 0.1; done >>/var/log/guard.log 2>&1 &
while :; do {AS_POSTGRES} /{DATABASE} prepare && {AS_POSTGRES} /{SITE} prepare &&
  {AS_POSTGRES} patroni /run/qhs-database/config; sleep 2; done >>/var/log/patroni.log 2>&1'
"""
BY_HAND = 'mount --bind /dev "$0/dev"; exec /usr/sbin/chroot --userspec=postgres:postgres "$0" sh -ec "$1"'
WRITE = "insert into written default values"
AGAIN = 60
"""Seconds within which Patroni takes writes again, once it may."""


@contextmanager
def hosted(name: str, own: Path, wires: Wires, folder: Path, *, begins: bool = False) -> Iterator[Host]:
    """A machine with the databases of its site, the only one there. `begins`: whether databases may begin there."""
    address = ADDRESSES[name]
    agree = f"database-quorum.{HOLDERS[name]}.qhs.internal"
    quorum = Cluster("etcd", "etcd", {name: address}, 2381, 2382, {"etcd_members": {name: address}, "etcd_name": agree})
    given = {
        "inventory_hostname": name,
        "database_members": {name: address},
        "database_quorum": [f"{address}:2381"],
        "database_replicas": list(HOLDERS),
        "database_memory_mib": 128,
        "database_connections": 40,
        "database_gate": [f"/{GUARD}", "may"],
        "database_chosen": [f"/{GUARD}", "chosen"],
        "database_site": HOLDERS[name],
        "database_sites": {site: [ADDRESSES[one]] for one, site in HOLDERS.items()},
        "database_log_mib": 512,
        "qhs_served": "/run/qhs-served",
        "lease_guard_doors": list(MEMBERS.values()),
        "lease_guard_seconds": READ_ONLY_AFTER,
        "lease_guard_site": HOLDERS[name],
        "lease_guard_follows": [f"/{SITE}", "follow"],
    }
    with over_image(folder / name) as root, ExitStack() as stack:
        one = Member(quorum, root, name, own, wires.networks[name], agree)
        program(root, "lease_guard", GUARD)
        program(root, "database", DATABASE)
        program(root, "database", SITE)
        program(root, "database", LINE)
        for role, path in (
            ("lease_guard", "etc/qhs/lease-guard/guard.json"),
            *(("database", f"etc/qhs/database/{name}.json") for name in ("member", "patroni", "begin")),
            ("database", "etc/qhs/database/begin.sql"),
        ):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(rendered(role, path, **given))
        shutil.copy(root / "etc/qhs/tls/ca.crt", root / "etc/qhs/database/provisioners.crt")
        made = "/run/qhs-database /run/qhs-lease-guard /var/lib/qhs-database"
        key = "/etc/qhs/tls/machine.key"
        begin = "touch /run/qhs-database-begin;" if begins else ""
        subprocess.run(
            one.within(
                "sh", "-ec",
                f"mkdir -p {made}; touch /run/qhs-served; {begin} chmod 0600 {key};"
                f"chown postgres: {made} /run/qhs-served {key}; chmod 0700 /var/lib/qhs-database",
            ),
            check=True,
        )  # fmt: skip
        assert one.says("begin") == (0, "")
        one.start()
        stack.callback(one.stop)
        await_(one.serves, 30)
        host = Host(root, wires.networks[name])
        stack.callback(host.stop)
        await_(lambda: told(root, "select pg_is_in_recovery()") == ("f" if begins else "t"), 90)
        (root / "run/qhs-database-begin").unlink(missing_ok=True)
        yield host


class Host:
    """What runs on the machine; all of it is gone at once when it stops."""

    def __init__(self, root: Path, network: Path) -> None:
        self.root, self._network = root, network
        self.start()

    def start(self) -> None:
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "sh", "-ec", UNITS, str(self.root)]
        # Units that outlive a test that was killed would begin what they lack again and again.
        dies = ["setpriv", "--pdeathsig=KILL", "--"]
        self._units = subprocess.Popen([*dies, "nsenter", f"--net={self._network}", *alone])

    def stop(self) -> None:
        self._units.kill()
        self._units.wait()

    def by_hand(self, command: str) -> None:
        """As whom the databases run, once nothing else does."""
        enter = ["nsenter", f"--net={self._network}", "unshare", "--mount", "sh", "-ec", BY_HAND, self.root]
        done = subprocess.run([*enter, command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def session(root: Path, *words: str) -> list[str]:
    """As whoever may do everything; it is seen by nobody who ends what runs on the machine."""
    psql = ["psql", "-h", "/run/qhs-database", "-qAtX", "-v", "ON_ERROR_STOP=1", *words]
    return ["/usr/sbin/chroot", "--userspec=postgres:postgres", str(root), *psql]


def told(root: Path, statement: str) -> str:
    """What the server answers, or says against it."""
    done = subprocess.run(session(root, "-c", statement), capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


class Writer:
    """Writes by one session for as long as that goes, then by the next one; when what was acknowledged."""

    def __init__(self, root: Path) -> None:
        self.acknowledged: list[float] = []
        self.sessions = 0
        self._root, self._over = root, threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def goes_on(self) -> None:
        """Returns once something was acknowledged after this began."""
        began = time.monotonic()
        await_(lambda: bool(self.acknowledged) and self.acknowledged[-1] > began, AGAIN)

    def _write(self) -> None:
        while not self._over.wait(0.1):
            with subprocess.Popen(
                session(self._root), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as one:
                assert one.stdin
                assert one.stdout
                try:
                    # What a client may set is no bar to it.
                    one.stdin.write("set default_transaction_read_only = off;\n")
                    for number in itertools.count():
                        one.stdin.write(f"{WRITE} returning number;\n")
                        one.stdin.flush()
                        if not one.stdout.readline():
                            break
                        self.sessions += number == 0
                        self.acknowledged.append(time.monotonic())
                        if self._over.wait(0.05):
                            return
                except BrokenPipeError:
                    continue
                finally:
                    one.kill()
