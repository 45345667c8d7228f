"""What exists once for the estate: each application has its own database and no other (S-006, C-PD-01)."""

from __future__ import annotations

import itertools
from typing import Any

import psycopg
import pytest

from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model.data import LOGGED, PASSWORDS, RESERVED, databases
from stacks.provider.secret.client import Store
from tests.twin.conftest import Run, WatchedUp
from tests.twin.databases import connect, leader, told, where
from tests.twin.hosts import Hosts
from tests.twin.trust import ESTATE, of_store

pytestmark = pytest.mark.live

STACK = "twin.replica"
SITE = "qhdc"
ALL = {one.name: one for one in databases(ESTATE)}
THREE = ("bau-cu", "qlvb", "hoc-vu-so")
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
    destroy = ("destroy", "--yes", "--target", f"**::{name}-*")
    asked(twin, name, name, "create schema lessons create table kept (number int)")
    done = qhs("shell", "--", "pulumi", *destroy, "-s", STACK, "--non-interactive")
    assert done.returncode != 0
    assert f"qhdc/{name}: has tables, which would be gone with it" in done.stdout
    assert "stacks/catalogue/tenants.yaml" in done.stdout
    pulumi(qhs, "preview", "--refresh", "--expect-no-changes")
    asked(twin, name, name, "drop schema lessons cascade")
    pulumi(qhs, *destroy)
    assert name not in told(hosts, [first := leader(hosts, SITE)], "select datname from pg_database")[first].split()
    assert of_store(twin, "ndc", lambda there: there.secret(f"{PASSWORDS}/{name}")) is None
    pulumi(qhs, "up", "--yes")
    assert asked(twin, name, name, "select 1") == [(1,)]
