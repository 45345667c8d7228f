"""What exists once for the estate: each application has its own database and no other (S-006, C-PD-01)."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model.data import LOGGED, PASSWORDS, RESERVED, databases
from stacks.provider.secret.client import Store
from tests.engine.clone_copy import CloneCopy
from tests.twin.conftest import NAME, Run, WatchedUp
from tests.twin.consent import Consent
from tests.twin.databases import connect, leader, told, where
from tests.twin.hosts import Hosts
from tests.twin.objects import key_of, s3
from tests.twin.trust import ESTATE, of_store

pytestmark = pytest.mark.live

STACK = "twin.replica"
SITE = "qhdc"
ALL = {one.name: one for one in databases(ESTATE)}
THREE = ("bau-cu", "qlvb", "hoc-vu-so")
GONE = "hoc-vu-so"
"""It has a database of its own name and a bucket."""
PERSONAL = next(name for name, one in ALL.items() if one.information == LOGGED)


def pulumi(qhs: Run, *words: str) -> str:
    done = qhs("shell", "--", "pulumi", *words, "-s", STACK, "--non-interactive")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def password(twin: Twin, name: str, site: str = SITE) -> str:
    def kept(there: Store) -> str:
        return str((there.secret(f"{PASSWORDS}/{name}") or {})["password"])

    return of_store(twin, site, kept)


def asked(twin: Twin, role: str, database: str, *statement: Any) -> list[Any]:
    """By an application, as that role in that database."""

    def ask() -> list[Any]:
        with connect(twin, SITE, password(twin, role), user=role, dbname=database) as connection:
            answer = connection.execute(*statement)
            return answer.fetchall() if answer.description else []

    return inside.call(where(twin, SITE), ask)


def by_hand(hosts: Hosts, *statements: str) -> None:
    """As who administers the databases."""
    for one in statements:
        told(hosts, [leader(hosts, SITE)], one)


def test_every_application_comes_into_its_own_database_and_no_other(
    twin: Twin, hosts: Hosts, second_up: WatchedUp
) -> None:
    first = leader(hosts, SITE)
    may = told(
        hosts,
        [first],
        "select r.rolname || ' ' || d.datname from pg_roles r, pg_database d where r.rolcanlogin and not r.rolsuper "
        "and d.datallowconn and has_database_privilege(r.rolname, d.datname, 'CONNECT')",
    )[first]
    comes = [one for one in may.split("\n") if one.split()[0] not in RESERVED]
    assert sorted(comes) == sorted(f"{name} {name}" for name in ALL)
    came = {
        (role, database): inside.call(
            where(twin, SITE), lambda role=role, database=database: comes_in(twin, role, database)
        )
        for role, database in itertools.product(THREE, THREE)
    }
    assert came == {(role, database): role == database for role, database in came}


def comes_in(twin: Twin, role: str, database: str) -> bool:
    try:
        connect(twin, SITE, password(twin, role), user=role, dbname=database).close()
    except psycopg.OperationalError as error:
        assert "permission denied for database" in str(error)
        return False
    return True


def test_of_personal_data_every_statement_is_logged_and_no_value(twin: Twin, hosts: Hosts) -> None:
    mark = "nguoi-dan-0123456789"
    assert asked(twin, PERSONAL, PERSONAL, "select 'seen' where %s <> ''", (mark,)) == [("seen",)]
    log = hosts.say("journalctl -u qhs-database --since=-60s -o cat", [first := leader(hosts, SITE)])[first]
    assert "select 'seen' where $1 <> ''" in log
    assert mark not in log


def test_what_is_changed_by_hand_is_seen_and_put_right(qhs: Run, twin: Twin, hosts: Hosts) -> None:
    by_hand(
        hosts,
        'alter role "qlvb" createdb',
        "alter role \"mail\" password 'guessed'",
        'grant connect on database "cu-tri" to public',
        f'alter database "{PERSONAL}" reset log_statement',
    )
    of_store(twin, "ndc", lambda there: there.forget(f"{PASSWORDS}/bieu-quyet"))
    seen = pulumi(qhs, "preview", "--refresh", "--diff")
    for shown in ("make databases", "qhdc: another password", "everybody", "logged", "ndc: no password"):
        assert shown in seen, shown
    pulumi(qhs, "up", "--refresh", "--yes")
    pulumi(qhs, "preview", "--refresh", "--expect-no-changes")
    assert asked(twin, "mail", "mail", "select 1") == [(1,)]
    assert password(twin, "bieu-quyet", "ndc") == password(twin, "bieu-quyet")


def test_a_database_that_holds_something_stays_with_all_that_belongs_to_it(qhs: Run, twin: Twin, hosts: Hosts) -> None:
    """Two who consent let it go: `qhs approve`, as for keys."""
    name = "hoc-vu-so"
    destroy = ("destroy", "--yes", "--run-program", "--target", f"**::{name}-*")
    asked(twin, name, name, "create schema lessons create table kept (number int)")
    done = qhs("shell", "--", "pulumi", *destroy, "-s", STACK, "--non-interactive")
    assert done.returncode != 0
    assert f"qhdc/{name}: has tables of the application {name}, which would be gone with it" in done.stdout
    assert f"`databases` of {name} in stacks/catalogue/tenants.yaml" in done.stdout
    pulumi(qhs, "preview", "--refresh", "--expect-no-changes")
    asked(twin, name, name, "drop schema lessons cascade")
    pulumi(qhs, *destroy)
    assert name not in told(hosts, [first := leader(hosts, SITE)], "select datname from pg_database")[first].split()
    assert of_store(twin, "ndc", lambda there: there.secret(f"{PASSWORDS}/{name}")) is None
    pulumi(qhs, "up", "--yes")
    assert asked(twin, name, name, "select 1") == [(1,)]


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CloneCopy:
    """A clone whose catalogue has no such application any more."""
    monkeypatch.setenv("QHS_TWIN", NAME)
    clone = CloneCopy.make(tmp_path / "clone")
    file = clone.folder / "stacks/catalogue/tenants.yaml"
    (own,) = re.findall(rf"^{GONE}:\n(?:  .*\n)+", file.read_text(), re.MULTILINE)
    clone.change("stacks/catalogue/tenants.yaml", own, "")
    return clone


def test_an_application_that_is_taken_out_of_the_catalogue_keeps_what_it_holds(
    qhs: Run, twin: Twin, without: CloneCopy, tmp_path: Path
) -> None:
    """Said by a preview, with its name; nothing leaves the state until two people consent to each, and then it goes."""

    def tried(*words: str) -> tuple[int, str]:
        done = without.qhs("shell", "--", "pulumi", *words, "-s", STACK, "--non-interactive")
        return done.returncode, done.stdout + done.stderr

    def known() -> set[str]:
        return {one["urn"] for one in json.loads(pulumi(qhs, "stack", "export"))["deployment"]["resources"]}

    asked(twin, GONE, GONE, "create schema lessons create table kept (number int)")
    bucket = ESTATE.catalogue.tenants[GONE].buckets[0]
    s3(twin, SITE, lambda one: one.put_object(Bucket=bucket, Key="kept", Body=b"1"), GONE, key_of(twin, SITE, GONE))
    before, consent, approved = known(), Consent(qhs, tmp_path / "people"), 0
    while True:
        code, said = tried("preview")
        if code == 0:
            break
        holding = f"of the application {GONE}, which would be gone with it" in said
        assert holding == (f"of {GONE} in stacks/catalogue/tenants.yaml" in said), said
        assert holding or f"{GONE} is in the catalogue no more, so nobody knows on which days" in said, said
        assert tried("up", "--yes")[0] != 0
        assert known() == before
        approved += (more := consent.to(said))
        assert more and approved <= 3, said
    assert approved == 3, "of the database, of the bucket, and of the application's change"
    code, said = tried("up", "--yes")
    assert code == 0, said
    assert {one.rpartition("::")[2] for one in before - known()} == {
        *(f"{GONE}-{what}" for what in ("data", "role", "database")), f"{bucket}-bucket",
    }  # fmt: skip
    pulumi(qhs, "up", "--yes")
    assert known() == before
    assert asked(twin, GONE, GONE, "select 1 from pg_tables where tablename = 'kept'") == []
