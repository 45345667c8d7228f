"""A bubble, by the role's programs: a genuine server that follows another, its copy, and genuine networks (T-B01)."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from stacks.provider.storage.client import Objects, ObjectsError
from tests.kernel import backed_up
from tests.kernel.backed_up import ADDRESSES, BIN, NAMES, ROLES, STATE, Site, network, served
from tests.kernel.certified import certify, new_root
from tests.kernel.over_image import over_image
from tests.twin.waiting import await_

PRIMARY, FOLLOWER = "/run/primary", "/run/qhs-database"
PROGRAMS = {
    "pki": ["secret_store"],
    "database": ["qhs_database"],
    "database_backup": ["qhs_backup", "qhs_backup_compare", "qhs_backup_restore"],
    "bubble": ["qhs_bubble", *(f"qhs_bubble_{name}" for name in ("copy", "net", "objects", "tenant"))],
}
TENANTS = {
    "bau-cu": {"databases": ["bau-cu"], "buckets": ["ho-so-bau-cu"]},
    "q-cabinet": {"databases": ["q-cabinet"], "buckets": []},
}
BUCKETS = [bucket for one in TENANTS.values() for bucket in one["buckets"]]
READS = [f"{right}:{bucket}" for bucket in BUCKETS for right in ("Read", "List")]
CONTENT = {"hồ sơ/1 & 2+3.txt": b"x" * 100_000, "empty": b""}
SETTINGS = {
    "network": "192.0.2.0/24", "address": ADDRESSES["own"], "databases_at": "postgres.ndc.qhs.internal",
    "objects_at": NAMES["own"], "nodes": [], "way_in": "", "identity": "",
    "production": [["10.16.81.1", 5432], ["10.20.81.9", 443]], "tenants": TENANTS,
}  # fmt: skip
MARKS = "create schema qhs_backup create table marks (at timestamptz primary key)"
AS_ROOT = 'mount --bind /dev "$0/dev"; mount -t proc proc "$0/proc"; exec /usr/sbin/chroot "$0" "$@"'
(MAY,) = re.findall(
    r"^CapabilityBoundingSet=(.+)$",
    (ROLES / "bubble/templates/etc/systemd/system/qhs-bubble.service.j2").read_text(),
    re.MULTILINE,
)
AS_UNIT = [
    "setpriv",
    f"--bounding-set=-all,{MAY.replace('CAP_', '+').replace(' ', ',').lower()}",
    "--no-new-privs",
    "--",
]
"""With what its unit lets it, and no more."""
RUN = """
import sys
sys.path[:0] = ["/usr/local/lib/qhs-bubble"]
import qhs_bubble, qhs_bubble_net, qhs_database
*sys.argv, role, change = sys.argv
qhs_database.status = lambda: {"role": role}
qhs_bubble.key = lambda _: "key-of-reader"
exec(change)
sys.exit(qhs_bubble.main())
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A machine whose server follows another one, with what applications have."""
    folder = tmp_path_factory.mktemp("bubble")
    with ExitStack() as stack:
        root = stack.enter_context(over_image(folder / "site"))
        own = stack.enter_context(network())
        here = Site(root, {"own": own}, {}, lambda _: subprocess.Popen(["true"]))
        prepare(root, new_root(folder / "pki"))
        stack.enter_context(stored(here))
        here.said(f"{BIN}/initdb", "-D", "/var/lib/primary", "--auth=trust", "--locale=C.UTF-8", "--data-checksums")
        stack.enter_context(served(here, "var/lib/primary", PRIMARY.lstrip("/")))
        for statement in (
            "create role replicator replication login",
            MARKS,
            "insert into qhs_backup.marks values (now())",
        ):
            here.sql(statement, PRIMARY)
        for name in TENANTS:
            here.sql(f'create role "{name}" login', PRIMARY)
            here.sql(f'create database "{name}" owner "{name}"', PRIMARY)
            here.said("psql", "-h", PRIMARY, "-U", name, "-d", name, "-c", "create table votes as select 7 as n")
        here.said("pg_basebackup", "-h", PRIMARY, "-U", "replicator", "-R", "-D", "/var/lib/qhs-database/main")
        stack.enter_context(served(here, "var/lib/qhs-database/main", FOLLOWER.lstrip("/")))
        yield here


@contextmanager
def stored(here: Site) -> Iterator[None]:
    """The object store of the site, at an address that the machine has itself here."""
    address = ["ip", "address", "add", f"{ADDRESSES['own']}/32", "dev", "lo"]
    subprocess.run(["nsenter", f"--net={here.networks['own']}", *address], check=True)
    process = backed_up.store(here.root, here.networks, "own")
    try:
        await_(lambda: filled(here), 60)
        yield
    finally:
        process.kill()


def filled(here: Site) -> bool:
    """With what applications have, in every kind of name."""

    def fill(s3: Any) -> None:
        there = Objects("ndc", s3)
        for bucket in BUCKETS:
            if bucket not in there.buckets():
                there.make(bucket, locked=False)
            for key, content in CONTENT.items():
                s3.put_object(Bucket=bucket, Key=key, Body=content)

    try:
        here.s3("own", fill)
    except (ObjectsError, BotoCoreError, ClientError) as error:
        print(error)
        return False
    return True


def prepare(root: Path, certificates: Path) -> None:
    """What the roles bring."""
    certify(root / "etc/qhs/tls", certificates, NAMES["own"], ADDRESSES["own"])
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{ADDRESSES['own']} {NAMES['own']}\n")
    admitted = {"provisioner": ("made-here", ["Admin"]), "bubble": ("key-of-reader", READS)}
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": key}], "actions": rights}
        for name, (key, rights) in admitted.items()
    ]
    (root / "etc/qhs/admitted.json").write_text(json.dumps({"identities": identities}))
    for role, names in PROGRAMS.items():
        at = root / "usr/local/lib" / f"qhs-{role.replace('_', '-')}"
        at.mkdir(parents=True, exist_ok=True)
        for name in names:
            (at / f"{name}.py").write_text((ROLES / role / "files" / f"{name}.py").read_text())
            (at / f"{name}.py").chmod(0o755)
    told = {"database-backup/backup": {"days": 28, "queue_mib": 64, "stores": []}, "bubble/bubble": SETTINGS}
    for name, what in told.items():
        path = root / f"etc/qhs/{name}.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(what))
    own = [PRIMARY, FOLLOWER, "/var/lib/primary", "/var/lib/qhs-database", f"/{STATE}"]
    for one in [*own, "/run/qhs-bubble"]:
        (root / one.lstrip("/")).mkdir(parents=True, exist_ok=True)
    subprocess.run(["/usr/sbin/chroot", root, "chown", "postgres:", *own], check=True)


def command(site: Site, *words: str) -> list[str]:
    """As root on the machine."""
    enter = ["nsenter", f"--net={site.networks['own']}", "--", "unshare", "--mount", "sh", "-ec", AS_ROOT]
    return [*enter, str(site.root), *words]


def told(site: Site) -> dict[str, Any]:
    path = site.root / "run/qhs-bubble/state.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"faults": [], "rounds": 0, "made": None}
    return found


@contextmanager
def kept(site: Site, role: str = "replica", change: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A bubble, until the block ends; as its unit does, what it leaves is taken away then."""
    (site.root / "run/qhs-bubble/state.json").unlink(missing_ok=True)
    running = subprocess.Popen(command(site, *AS_UNIT, "python3", "-B", "-c", RUN, "run", role, change))
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait()
        subprocess.run(command(site, *AS_UNIT, "python3", "-B", "-c", RUN, "clear", role, ""), check=True)


def counted(site: Site) -> int:
    """As the drill asks it."""
    shown = [
        "nsenter",
        f"--net={site.networks['own']}",
        "nft",
        "-j",
        "list",
        "counter",
        "inet",
        "qhs_bubble",
        "from_bubble",
    ]
    listed = json.loads(subprocess.run(shown, capture_output=True, check=True).stdout)["nftables"]
    (packets,) = [one["counter"]["packets"] for one in listed if "counter" in one]
    return int(packets)


def left(site: Site) -> str:
    """Files, the wire and the table of a bubble."""
    return said(site, f"ls -d /{STATE}/bubble; ip link show qhs-bubble; nft list table inet qhs_bubble")


def runs(site: Site) -> str:
    """Its processes, and the wire to its networks, which ends with the last of them."""
    return said(site, "ip link show qhs-bubble; pgrep -f 'qhs_bubble_[cot]|qhs-backup/bubbl[e]'")


def said(site: Site, script: str) -> str:
    """On standard output, whatever it ends by."""
    return subprocess.run(command(site, "sh", "-c", script), capture_output=True, text=True, check=False).stdout


def test_a_copy_and_its_applications_serve_and_no_packet_of_theirs_comes_out(site: Site) -> None:
    with kept(site):
        await_(lambda: told(site)["rounds"] >= 2 or told(site)["faults"], 120)
        found = told(site)
        assert found["faults"] == []
        assert found["made"]["counted"] >= 1
        contents = found["copied"]["contents"]
        assert (contents["faults"], contents["databases"], contents["marks"]) == ([], 3, 1)
        assert found["copied"]["bytes"] > 1_000_000 and found["served"]["seconds"] > 0
        copied = {"objects": len(CONTENT), "bytes": sum(map(len, CONTENT.values()))}
        assert found["objects"] == dict.fromkeys(BUCKETS, copied)
        for name, one in TENANTS.items():
            did = found["tenants"][name]
            assert did["databases"] == {name: {"said": "", "tables": 1}}
            assert did["buckets"] == {bucket: {"said": "", "objects": len(CONTENT)} for bucket in one["buckets"]}
        assert {len(one["tries"]) for one in found["tenants"].values()} == {4}
        assert {said for one in found["tenants"].values() for said in one["tries"].values()} == {"nothing"}
        assert (found["refused"] > 0, counted(site)) == (True, 0)
        site.sql("create table meanwhile ()", PRIMARY)
        await_(lambda: site.sql("select to_regclass('meanwhile') is not null") == "t", 10)
        assert site.sql("select pg_is_in_recovery()") == "t"
    await_(lambda: not runs(site), 20)
    assert left(site) == ""


def test_without_the_flow_applications_have_nothing_and_that_is_a_fault(site: Site) -> None:
    with kept(site, change="qhs_bubble_net.FLOW = ''"):
        await_(lambda: told(site)["faults"], 120)
        assert any("bau-cu: found its database bau-cu so:" in one for one in told(site)["faults"])
        assert told(site)["served"] is None


def test_a_router_that_passes_everything_on_is_seen_by_the_machines_counter(site: Site) -> None:
    with kept(site, change="qhs_bubble_net.FLOW = 'accept'"):
        await_(lambda: told(site)["rounds"] >= 1 or told(site)["faults"], 120)
        assert counted(site) > 0


def test_a_machine_that_does_not_count_is_found_before_anything_is_copied(site: Site) -> None:
    with kept(site, change="qhs_bubble_net.COUNT = ''"):
        await_(lambda: told(site)["faults"], 60)
        (fault,) = told(site)["faults"]
        assert "a counter that does not count shows nothing" in fault
        assert told(site)["copied"] is None and not (site.root / STATE / "bubble").exists()


def test_a_member_that_takes_writes_has_no_bubble(site: Site) -> None:
    with kept(site, role="primary"):
        await_(lambda: told(site)["faults"], 60)
        assert "wanted one that follows" in told(site)["faults"][0]
        assert left(site) == ""


def test_of_one_that_is_killed_nothing_outlives_what_its_unit_takes_away(site: Site) -> None:
    with kept(site) as running:
        await_(lambda: told(site).get("served") or told(site)["faults"], 120)
        running.send_signal(signal.SIGKILL)
        running.wait()
        await_(lambda: not runs(site), 20)
        assert "inet qhs_bubble" in left(site)
    assert left(site) == ""
