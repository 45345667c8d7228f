"""Backups of a genuine server of the machine image, by its role's program, in two genuine stores (C-BAK-01, 03)."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.kernel.backed_up import BUCKET, NAMES, PASS, STATE, Site, backed_up, ready, served
from tests.twin.waiting import await_


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with backed_up(tmp_path_factory.mktemp("backups")) as here:
        yield here


def test_both_stores_have_a_copy_and_the_log_and_what_is_read_back_from_one_alone_is_what_was_written(
    site: Site,
) -> None:
    assert "nobody has told where copies go" in site.program("run")
    assert site.program("configure") == ""
    assert (site.root / "run/qhs-backup/pgbackrest.conf").stat().st_mode & 0o777 == 0o600
    site.sql("create table kept as select n, md5(n::text) as said from generate_series(1, 1000) n")
    assert site.program("run") == ""
    assert (site.kinds(1), site.kinds(2)) == (["full"], ["full"])
    site.sql("insert into kept select n, md5(n::text) from generate_series(1001, 1076) n")
    site.sql("select pg_switch_wal()")
    await_(
        lambda: (
            site.sql("select last_archived_wal = last_archived_wal and failed_count >= 0 from pg_stat_archiver") == "t"
        )
    )
    before = site.sql("select last_archived_wal from pg_stat_archiver")
    site.sql("create table later (n int)")
    site.sql("select pg_switch_wal()")
    await_(lambda: site.sql("select last_archived_wal from pg_stat_archiver") > before)
    site.stores["own"].kill()
    site.stores["own"].wait()
    try:
        site.pg_backrest("--repo=2", "--pg1-path=/var/lib/qhs-database/restored", "--archive-mode=off", "restore")
        (site.root / "run/qhs-database/restored").mkdir()
        subprocess.run(["/usr/sbin/chroot", site.root, "chown", "postgres:", "/run/qhs-database/restored"], check=True)
        with served(site, "var/lib/qhs-database/restored", "run/qhs-database/restored"):
            await_(lambda: ready(site, "/run/qhs-database/restored"), 60)
            found = site.sql("select n, said from kept order by n", "/run/qhs-database/restored")
    finally:
        site.stores["own"] = site.start("own")
    assert found == site.sql("select n, said from kept order by n")
    assert len(found.splitlines()) == 1076
    report = (site.root / "run/qhs-backup/report.prom").read_text()
    taken = dict(re.findall(r'qhs_backup_taken_seconds{at="(\w+)"} (\d+)', report))
    assert taken.keys() == NAMES.keys()
    assert all(time.time() - int(at) < 900 for at in taken.values())


def test_nothing_is_read_without_what_encrypts_it_nor_taken_away_with_the_key(site: Site) -> None:
    def objects(s3: Any) -> list[tuple[str, str, bytes]]:
        found = s3.list_object_versions(Bucket=BUCKET, MaxKeys=200)["Versions"]
        read = [
            (
                one["Key"],
                one["VersionId"],
                s3.get_object(Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"])["Body"],
            )
            for one in found
        ]
        return [(key, version, body.read()) for key, version, body in read]

    found = site.s3("other", objects, BUCKET)
    assert len(found) > 20
    assert {content[:8] for *_, content in found if content} == {b"Salted__"}
    key, version, _ = found[0]
    with pytest.raises(ClientError, match="AccessDenied"):
        site.s3("other", lambda s3: s3.delete_object(Bucket=BUCKET, Key=key, VersionId=version), BUCKET)
    with pytest.raises(ClientError, match="AccessDenied"):
        site.s3("other", lambda s3: s3.list_object_versions(Bucket=BUCKET), "backups-ndc")
    wrong = "/run/qhs-backup/wrong.conf"
    told = (site.root / "run/qhs-backup/pgbackrest.conf").read_text()
    (site.root / wrong.lstrip("/")).write_text(told.replace(PASS, "guessed"))
    command = [
        "pgbackrest",
        f"--config={wrong}",
        "--stanza=main",
        "--repo=2",
        "--pg1-path=/var/lib/qhs-database/no",
        "restore",
    ]
    done = subprocess.run(site.command(*command), capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode != 0
    assert not (site.root / "var/lib/qhs-database/no").exists()


def test_a_store_that_is_gone_for_an_hour_is_not_waited_for_and_has_a_copy_once_it_is_back(site: Site) -> None:
    await_(lambda: site.program("configure") == "", 60)
    site.stores["other"].kill()
    site.stores["other"].wait()
    assert NAMES["other"] in site.program("configure")
    config = site.root / "run/qhs-backup/pgbackrest.conf"
    assert "repo2-type" in config.read_text(), "it is waited for"
    seen = site.root / STATE / "seen-other"
    os.utime(seen, (time.time() - 3700,) * 2)
    site.program("configure")
    assert "repo2-type" not in config.read_text() and "repo1-type" in config.read_text()
    last = site.sql("select last_archived_wal from pg_stat_archiver")
    site.sql("insert into kept values (0, 'while it was gone')")
    site.sql("select pg_switch_wal()")
    await_(lambda: site.sql("select last_archived_wal from pg_stat_archiver") > last)
    assert site.program("run") == ""
    site.stores["other"] = site.start("other")
    await_(lambda: site.program("configure") == "", 60)
    assert "repo2-type" in config.read_text()
    await_(lambda: site.program("run") == "", 60)
    assert (site.kinds(1), site.kinds(2)) == (["full"], ["full", "diff"])


def test_a_member_that_takes_no_writes_makes_nothing_and_says_nothing_of_its_age(site: Site) -> None:
    before = site.kinds(1), site.kinds(2)
    assert site.program("run", role="replica") == ""
    assert (site.root / "run/qhs-backup/report.prom").read_text() == ""
    assert (site.kinds(1), site.kinds(2)) == before
