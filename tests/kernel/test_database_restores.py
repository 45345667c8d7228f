"""Restores for trial, by the role's program, of a genuine server from two genuine object stores (C-BAK-04, T-B10)."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from qhs.drill.remote import TABLES
from tests.kernel.backed_up import NAMES, STATE, Site, backed_up
from tests.twin.waiting import await_

ASK = """
import sys
sys.path[:0] = ["/usr/local/lib/qhs-pki", "/usr/local/lib/qhs-database", "/usr/local/lib/qhs-database-backup"]
import qhs_backup, qhs_backup_compare, qhs_backup_restore, qhs_database
*sys.argv, role, change = sys.argv
qhs_database.status = lambda: {"role": role, "timeline": 1}
exec(change)
sys.exit(qhs_backup_restore.main())
"""
PLACE = f"{STATE}/restore"
CAST = """create table owned as select 1 as n;
create function said(owned) returns text language plpgsql as $$ begin insert into ran values (1); return 'so'; end $$;
create cast (owned as text) with function said(owned)"""
ROWS = "insert into {} select n, md5(n::text) from generate_series({}, {}) n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With a copy at each store, and changes of every kind since, each with its own time between."""
    with backed_up(tmp_path_factory.mktemp("restores")) as here:
        await_(lambda: here.program("configure") == "", 60)
        here.sql("create database laws")
        here.sql("create table bare ()")
        for table in ("kept", "grows", "edited", "dropped"):
            here.sql(f"create table {table} (n int, said text)")
            here.sql(ROWS.format(table, 1, 1000))
        assert here.program("run") == ""
        time.sleep(8)
        here.sql(ROWS.format("grows", 1001, 1500))
        here.sql("update edited set said = 'so' where n <= 10")
        here.sql("drop table dropped; alter table kept add column more int default 7")
        yield here


def command(site: Site, *words: str, role: str = "primary", change: str = "") -> list[str]:
    return site.command("python3", "-B", "-c", ASK, *words, role, change)


def restored(site: Site, *words: str, **more: str) -> str:
    """What the program complains of."""
    done = subprocess.run(command(site, "restore", *words, **more), capture_output=True, text=True, check=False)
    assert bool(done.stderr) == bool(done.returncode)
    return done.stderr


def told(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site.root / STATE / "restored.json").read_text())
    return found


def nothing_left(site: Site) -> bool:
    """Neither files nor keys nor a process that stands among them."""
    own = [site.root / PLACE, site.root / "run/qhs-backup/restore.conf"]
    return not any(path.exists() for path in own) and not site.said(
        "sh", "-c", f"ls -l /proc/*/cwd 2>&1 | grep /{PLACE} || true"
    )


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def test_each_store_in_turn_gives_a_point_at_random_back_and_what_has_not_changed_is_the_same(site: Site) -> None:
    stores = []
    for _ in NAMES:
        assert restored(site, "random") == ""
        found = told(site)
        stores.append(found["store"])
        assert (found["faults"], found["contents"]["faults"], found["asked"]) == ([], [], "random")
        assert found["seconds"].keys() == {"choose", "fetch", "replay", "compare", "pages", "remove"}
        assert found["bytes"] > 1_000_000 and 0 <= found["short"] < 900
        assert found["contents"]["databases"] == 2 and found["contents"]["marks"] >= 1
        assert "Bad checksums: 0" in found["pages"]
        assert nothing_left(site)
    assert sorted(stores) == sorted(NAMES)
    assert site.program("run") == ""
    report = (site.root / "run/qhs-backup/report.prom").read_text()
    assert "qhs_backup_restore_failed 0\n" in report
    (at,) = re.findall(r"qhs_backup_restored_seconds (\d+)", report)
    assert time.time() - int(at) < 300


def test_a_point_that_is_asked_for_is_given_back_as_it_was_then(site: Site) -> None:
    site.sql("create table asked as select 1 as n")
    point = now()
    time.sleep(0.1)
    site.sql("insert into asked values (2); insert into asked values (3); create table later as select 1")
    assert restored(site, point) == ""
    first = told(site)
    assert (first["at"], first["asked"]) == (point, point)
    assert restored(site, now()) == ""
    later = told(site)["contents"]
    assert later["tables"] - first["contents"]["tables"] == 1
    marks = later["marks"] - first["contents"]["marks"]
    assert later["rows"] - first["contents"]["rows"] == 2 + 1 + marks, "two rows, and the one of the later table"
    assert first["contents"]["changed"] == 0, "rows were added, no more"
    site.sql("update asked set n = 9 where n = 1; drop table later")
    assert restored(site, point) == ""
    assert told(site)["contents"]["changed"] == 1


def test_what_an_owner_made_of_a_table_is_never_run_by_who_compares(site: Site) -> None:
    """Who may all compares, and a cast to text is a function of the table's owner."""
    site.sql("create table ran (n int); grant insert on ran to public")
    site.sql(f"create role an_owner; grant create on schema public to an_owner; set role an_owner; {CAST}")
    for line in site.sql(TABLES).splitlines():
        site.sql(line)
    assert restored(site, now()) == ""
    assert told(site)["contents"]["faults"] == []
    assert site.sql("select count(*) from ran") == "0"
    assert site.sql("set role an_owner; select owned::text from owned; reset role; select count(*) from ran") == "so\n1"


def test_a_table_that_somebody_was_changing_as_the_point_came_keeps_nobody_waiting(site: Site) -> None:
    site.sql("create table moving (n int)")
    change = "begin; lock table moving; select pg_sleep(4); commit"
    with subprocess.Popen(site.command("psql", "-h", "/run/qhs-database", "-d", "postgres", "-Xqc", change)):
        time.sleep(2)
        site.sql("create table beside ()")
        point = now()
    assert restored(site, point) == ""
    assert told(site)["contents"]["held"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("qhs_backup_compare.OLD = 'true'", "past: 1 rows from before the point are not in it"),
        ("qhs_backup_compare.OLD = 'true'", "the table is not there: public.newer"),
        ("qhs_backup_compare.BLUR = -3600", "marks of before the point are not there"),
        ("qhs_backup_restore.target = lambda at: '2030-01-01 00:00:00+00'", "the server ended before"),
        ("qhs_backup_restore.settings = lambda: qhs_backup.settings() | {'queue_mib': 1 << 30}", "MiB of room; wanted"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_should_be_is_a_fault_and_nothing_is_left(site: Site, change: str, said: str) -> None:
    """As if what came after the point had been there before; a target after all of the log; too small a disk."""
    site.sql("drop table if exists past, newer; create table past (n int)")
    point = now()
    time.sleep(0.1)
    site.sql("insert into past values (1); create table newer (n int)")
    assert said in restored(site, point, change=change)
    assert any(said in one for one in told(site)["faults"])
    assert nothing_left(site)


@pytest.mark.parametrize("moment", ["data/base", "data/PG_VERSION", "data/postmaster.pid", ".s.PGSQL.5432"])
def test_one_that_is_killed_has_not_ended_and_the_next_one_takes_what_it_left(site: Site, moment: str) -> None:
    with subprocess.Popen(command(site, "restore", "random"), stderr=subprocess.PIPE) as running:
        await_((site.root / PLACE / moment).exists, 60)
        assert "another restore runs on this machine" in restored(site, "random")
        running.send_signal(signal.SIGKILL)
    assert told(site)["faults"] == ["it has not ended"]
    assert site.program("run") == ""
    assert "qhs_backup_restore_failed 1\n" in (site.root / "run/qhs-backup/report.prom").read_text()
    assert restored(site, "random") == ""
    assert nothing_left(site)


def test_one_that_is_told_to_stop_takes_everything_away_and_is_not_good(site: Site) -> None:
    with subprocess.Popen(command(site, "restore", "random"), stderr=subprocess.PIPE) as running:
        await_((site.root / PLACE / "data/postmaster.pid").exists, 60)
        running.send_signal(signal.SIGTERM)
    assert nothing_left(site)
    assert told(site)["faults"] == ["it has not ended"]


def test_a_member_that_takes_no_writes_restores_nothing_and_a_point_that_no_copy_has_is_refused(site: Site) -> None:
    before = told(site)
    assert restored(site, "random", role="replica") == ""
    assert told(site) == before
    assert "wanted the one that takes writes" in restored(site, now(), role="replica")
    assert "what copies at" in restored(site, "2026-01-01T00:00:00.000000Z")
    assert "wanted a time like" in restored(site, "yesterday")
    assert nothing_left(site)


def test_what_runs_there_is_alone_only_reads_and_leaves_the_databases_as_they_are(site: Site) -> None:
    before = site.sql("select timeline_id, system_identifier from pg_control_checkpoint(), pg_control_system()")
    look = (
        "import subprocess as s; ask = qhs_backup_restore.Server(qhs_backup_restore.PLACE).row; "
        "old = qhs_backup_restore.pages; whole = qhs_backup_restore.Trial._compare\n"
        "def looks(self, at):\n"
        "    names = ['listen_addresses', 'archive_mode', 'primary_conninfo', 'transaction_read_only', 'port']\n"
        "    self._say(seen=[ask('postgres', f'show {name}')[0] for name in names] "
        "+ ask('postgres', 'select pg_is_in_recovery()'), where=ask('postgres', 'show data_directory'))\n"
        "    whole(self, at)\n"
        "qhs_backup_restore.Trial._compare = looks"
    )
    assert restored(site, "random", change=look) == ""
    assert told(site)["seen"] == ["", "off", "", "on", "5432", "t"]
    assert told(site)["where"] == [f"/{PLACE}/data"]
    assert site.sql("select timeline_id, system_identifier from pg_control_checkpoint(), pg_control_system()") == before
