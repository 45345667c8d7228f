"""Copies of the databases, at the object stores of both centres (C-BAK-01 to C-BAK-05)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from qhs.twin.names import Twin
from stacks.model.backups import LOCKED, clusters
from tests.twin.databases import ESTATE, MEMBERS, SITE, SITES, leader, told
from tests.twin.hosts import Hosts
from tests.twin.objects import key_of, s3
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

CONFIG = "/run/qhs-backup/pgbackrest.conf"
BACKREST = f"runuser -u postgres -- pgbackrest --config={CONFIG} --stanza=main"
SCRATCH = "/var/lib/qhs-backup/scratch"
ARCHIVED = "select last_archived_wal >= '{}' from pg_stat_archiver"
MADE = "create table public.rehearsed as select n, md5(n || '{}') from generate_series(1, 500) n"
SERVER = "runuser -u postgres -- /usr/lib/postgresql/17/bin/pg_ctl"


@pytest.fixture(scope="module", autouse=True)
def copied(hosts: Hosts, first_up: dict[str, Any]) -> Iterator[None]:
    """The databases have a copy at each store; nobody waits for a timer."""
    await_(lambda: whole(hosts), 300)
    yield


def whole(hosts: Hosts) -> bool:
    first = leader(hosts, SITE)
    hosts.say("systemctl start qhs-database-backup-keys.service qhs-database-backup.service", [first])
    said = hosts.say("cat /var/lib/prometheus/node-exporter/qhs_backup.prom || true", [first])[first]
    ages = [line.split()[1] for line in said.splitlines() if line.startswith("qhs_backup_taken_seconds")]
    return len(ages) == len(SITES) and "0" not in ages


def test_both_stores_have_it_and_the_log_gets_away(hosts: Hosts) -> None:
    first = leader(hosts, SITE)
    for number in range(1, len(SITES) + 1):
        said = hosts.say(f"{BACKREST} --repo={number} --output=json info", [first])[first]
        (found,) = json.loads(said)
        assert found["status"]["code"] == 0 and found["cipher"] == "aes-256-cbc"
        assert found["backup"]
    # A log in which nothing was written is not switched.
    written = told(hosts, [first], "select pg_walfile_name(pg_logical_emit_message(true, 'rehearsed', ''))")[first]
    told(hosts, [first], "select pg_switch_wal()")
    await_(lambda: told(hosts, [first], ARCHIVED.format(written))[first] == "t", 60)


def test_what_is_read_back_from_the_other_centre_is_what_was_written(hosts: Hosts) -> None:
    first, word = leader(hosts, "qhdc"), secrets.token_hex(16)
    number = next(n for n, (site, _) in clusters(ESTATE)["qhdc"].numbered(ESTATE).items() if site == "ndc")
    told(hosts, [first], MADE.format(word))
    try:
        wrote = told(hosts, [first], "select md5(string_agg(md5, '' order by n)) from public.rehearsed")[first]
        last = told(hosts, [first], "select pg_walfile_name(pg_switch_wal())")[first]
        await_(lambda: told(hosts, [first], ARCHIVED.format(last))[first] == "t", 60)
        restore = f"--repo={number} --pg1-path={SCRATCH}/data --archive-mode=off --type=default restore"
        hosts.say(f"install -d -o postgres -m 0700 {SCRATCH} {SCRATCH}/data && {BACKREST} {restore}", [first])
        alone = f"-c listen_addresses= -k {SCRATCH} -c hot_standby=off -c synchronous_standby_names= -c ssl=off"
        hosts.say(f"echo 'local all postgres peer' >{SCRATCH}/hba && chown postgres: {SCRATCH}/hba", [first])
        hosts.say(
            f"{SERVER} -D {SCRATCH}/data -o '{alone} -c hba_file={SCRATCH}/hba' -l {SCRATCH}/log -w -t 120 start",
            [first],
        )
        read = "select md5(string_agg(md5, '' order by n)) from public.rehearsed"
        asked = f'runuser -u postgres -- psql -h {SCRATCH} -d postgres -AtXc "{read}"'
        await_(lambda: hosts.say(f"{asked} || true", [first])[first].strip() == wrote, 60)
    finally:
        hosts.say(f"{SERVER} -D {SCRATCH}/data -m immediate stop || true; rm -rf {SCRATCH}", [first])
        told(hosts, [first], "drop table public.rehearsed")


RESTORED, PLACE = "/var/lib/qhs-backup/restored.json", "/var/lib/qhs-backup/restore"
UNIT = "qhs-database-restore@random.service"


def test_a_copy_is_restored_each_day_compared_and_taken_away_even_where_it_is_killed(hosts: Hosts) -> None:
    first = leader(hosts, SITE)
    timers = hosts.say("systemctl is-active qhs-database-restore.timer", MEMBERS[SITE])
    assert {one.strip() for one in timers.values()} == {"active"}
    hosts.say(f"systemctl start --no-block {UNIT}", [first])
    await_(lambda: hosts.say(f"ls {PLACE}/data 2>/dev/null || true", [first])[first] != "", 200)
    hosts.say(f"systemctl kill --signal=KILL {UNIT}", [first])
    await_(lambda: hosts.say(f"ls -d {PLACE} 2>/dev/null || true", [first])[first] == "", 30)
    assert restored(hosts, first)["faults"] == ["it has not ended"]
    hosts.say(f"systemctl start {UNIT}", [first])
    found = restored(hosts, first)
    assert (found["faults"], found["ended"] > found["began"]) == ([], True)
    assert found["contents"]["marks"] and found["contents"]["same"]
    assert "Bad checksums: 0" in found["pages"]
    assert hosts.say(f"ls -d {PLACE} /run/qhs-backup/restore.conf 2>/dev/null || true", [first])[first] == ""
    hosts.say("systemctl start qhs-database-backup.service", [first])
    told_of = hosts.say("cat /var/lib/prometheus/node-exporter/qhs_backup.prom", [first])[first]
    assert "qhs_backup_restore_failed 0\n" in told_of


def restored(hosts: Hosts, member: str) -> dict[str, Any]:
    """What its last restore says of itself."""
    found: dict[str, Any] = json.loads(hosts.say(f"cat {RESTORED}", [member])[member])
    return found


@pytest.mark.parametrize("store", SITES)
def test_all_of_it_is_encrypted_and_locked_and_nobody_elses_key_opens_it(twin: Twin, store: str) -> None:
    bucket = clusters(ESTATE)["qhdc"].bucket
    own = key_of(twin, store, bucket)
    found = s3(twin, store, lambda one: one.list_object_versions(Bucket=bucket, MaxKeys=50)["Versions"], bucket, own)
    begins = s3(
        twin,
        store,
        lambda one: [one.get_object(Bucket=bucket, Key=o["Key"])["Body"].read(8) for o in found],
        bucket,
        own,
    )
    assert found and {one for one in begins if one} == {b"Salted__"}
    at = {"Bucket": bucket, "Key": found[0]["Key"], "VersionId": found[0]["VersionId"]}
    with pytest.raises(ClientError, match="AccessDenied"):
        s3(twin, store, lambda one: one.delete_object(**at), bucket, own)
    lock = s3(twin, store, lambda one: one.get_object_lock_configuration(Bucket=bucket), "provisioner",
              key_of(twin, store, "provisioner"))["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]  # fmt: skip
    assert lock == {"Mode": "COMPLIANCE", "Days": LOCKED}
    other = clusters(ESTATE)["ndc"].bucket
    with pytest.raises(ClientError, match="AccessDenied"):
        s3(twin, store, lambda one: one.list_objects_v2(Bucket=bucket), other, key_of(twin, store, other))


def test_a_machine_has_what_encrypts_its_own_alone_and_in_memory(hosts: Hosts) -> None:
    every = [name for site in SITES for name in MEMBERS[site]]
    said = hosts.say(f"stat -c '%a %U' {CONFIG}; findmnt -no FSTYPE -T {CONFIG}; sha256sum <{CONFIG}", every)
    assert all(one.startswith("600 postgres\ntmpfs\n") for one in said.values())
    passes = hosts.say(f"grep -h cipher-pass {CONFIG} | cut -d= -f2- | sort -u | sha256sum", every)
    assert {passes[name] for name in MEMBERS["qhdc"]}.isdisjoint(passes[name] for name in MEMBERS["ndc"])
    assert len(set(passes.values())) == len(SITES)


def test_what_another_centre_encrypts_by_is_not_told_to_a_machine(hosts: Hosts) -> None:
    """The store of its own site has that too, for the day on which the other one is gone."""
    asked = (
        "import sys; sys.path.insert(0, '/usr/local/lib/qhs-pki'); from secret_store import of_any; import json;"
        "s = json.load(open('/etc/qhs/database-backup/backup.json'));"
        "print(of_any(s['nodes'], s['way_in'], lambda a: sorted(a.secret('backups/{}'))))"
    )
    (machine, *_) = MEMBERS["qhdc"]
    assert "'pass'" in hosts.say(f'python3 -c "{asked.format("qhdc")}"', [machine])[machine]
    said = hosts.say(f'python3 -c "{asked.format("ndc")}" 2>&1 || true', [machine])[machine]
    assert "403" in said
