"""Roles and databases in a genuine server of the machine image that began as its role has it begin."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from jinja2 import Environment, FileSystemLoader

from stacks.model.data import PROVISIONER
from stacks.provider.data import handlers, scram
from stacks.provider.data.client import Server
from stacks.provider.data.handlers import DatabaseHandler, RoleHandler
from stacks.provider.secret.client import StoreError
from stacks.provider.settings import ProviderError, Settings
from tests.kernel.over_image import over_image
from tests.twin.waiting import await_

ROLE = Path(__file__).parents[2] / "roles/database"
BIN, SOCKET = "/usr/lib/postgresql/17/bin", "run/qhs-database"
AS_POSTGRES = 'mount --bind /dev "$0/dev"; exec /usr/sbin/chroot --userspec=postgres:postgres "$0" "$@"'
DECLARED = {"site": "qhdc", "owner": "vpqh-cntt", "level": 4, "serves": ["S-006"]}
URN = "urn:pulumi:twin.replica::qhs::qhs:data:Role::qlvb-role"


class Kept:
    """A secret store that may be away; the genuine one is asked on the twin."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self.away = self.full = False

    def secret(self, path: str) -> dict[str, Any] | None:
        if self.away:
            raise StoreError("lets nobody in")
        return self.found.get(path)

    def keep(self, path: str, fields: dict[str, Any]) -> None:
        if self.full:
            raise StoreError("takes nothing")
        self.found[path] = fields

    def forget(self, path: str) -> None:
        if self.full:
            raise StoreError("takes nothing")
        self.found.pop(path, None)


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a server in which everybody on the machine is who they say."""
    with over_image(tmp_path_factory.mktemp("server")) as root:
        within = ["unshare", "--mount", "sh", "-ec", AS_POSTGRES, root]
        (root / SOCKET).mkdir(mode=0o755, parents=True)
        subprocess.run(["/usr/sbin/chroot", root, "chown", "postgres:", f"/{SOCKET}"], check=True)
        subprocess.run(
            [*within, f"{BIN}/initdb", "-D", f"/{SOCKET}/data", "--auth=trust", "--locale=C.UTF-8"],
            check=True, capture_output=True,
        )  # fmt: skip
        server = [*within, f"{BIN}/postgres", "-D", f"/{SOCKET}/data", "-k", f"/{SOCKET}", "-c", "listen_addresses="]
        with (
            (root / "log").open("wb") as log,
            subprocess.Popen([*server, "-c", "log_statement=ddl"], stderr=log) as one,
        ):
            try:
                await_((root / SOCKET / ".s.PGSQL.5432").exists, 20)
                written = Environment(loader=FileSystemLoader(ROLE / "templates/etc/qhs/database"), autoescape=True)
                with connect(root / SOCKET, "postgres", user="postgres") as connection:
                    connection.execute(written.get_template("begin.sql.j2").render())
                yield root / SOCKET
            finally:
                one.send_signal(signal.SIGINT)  # without waiting for who is connected


def connect(socket: Path, database: str, user: str = PROVISIONER) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(host=str(socket), user=user, dbname=database, autocommit=True)


def by_hand(socket: Path, *statements: LiteralString) -> None:
    with connect(socket, "postgres", user="postgres") as connection:
        for one in statements:
            connection.execute(one)


@pytest.fixture
def stores(socket: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Kept]]:
    """By site; the databases are empty again afterwards."""
    server = Server("qhdc", partial(connect, socket))
    stores = {"qhdc": Kept(), "ndc": Kept()}
    monkeypatch.setattr(handlers, "server", lambda *_: server)
    monkeypatch.setattr(handlers, "takes_writes", lambda _, site: site)
    monkeypatch.setattr(handlers, "store", lambda _, site: stores[site])
    yield stores
    by_hand(socket, 'drop database if exists "qlvb"', 'drop database if exists "other"')
    by_hand(socket, 'drop role if exists "qlvb"', 'drop role if exists "other"')


def role(name: str = "qlvb") -> dict[str, Any]:
    return DECLARED | {"name": name, "connections": 20, "stores": ["ndc", "qhdc"]}


def database(information: str = "personal") -> dict[str, Any]:
    return DECLARED | {"name": "qlvb", "tenant": "van-ban", "role": "qlvb", "information": information}


def stands(handler: RoleHandler | DatabaseHandler, inputs: dict[str, Any]) -> dict[str, Any]:
    """What is otherwise than declared."""
    read = handler.read(handler.key(inputs), inputs)
    assert read
    found, outputs = read
    wanted = inputs | handler.outputs(URN, inputs)
    return {name: value for name, value in (found | outputs).items() if value != wanted[name]}


def test_a_role_is_let_in_by_what_both_stores_have_and_it_goes_with_them(socket: Path, stores: dict[str, Kept]) -> None:
    roles = RoleHandler(Settings())
    for _ in range(2):
        assert roles.write(URN, role()) == {"gaps": []}
    assert stands(roles, role()) == {}
    assert stores["qhdc"].found == stores["ndc"].found
    assert list(stores["ndc"].found) == ["databases/qlvb"]
    log = (socket.parents[1] / "log").read_text()
    assert 'create role "qlvb" login' in log
    assert "SCRAM" not in log
    roles.remove("another's", role())
    assert stands(roles, role()) == {}
    roles.remove(URN, role())
    assert roles.read("qhdc/qlvb", role()) is None
    assert stores["ndc"].found == {}


def test_a_password_that_a_store_did_not_give_up_goes_with_the_next_run(socket: Path, stores: dict[str, Kept]) -> None:
    """The role is gone by then."""
    roles = RoleHandler(Settings())
    roles.write(URN, role())
    stores["qhdc"].full = True
    with pytest.raises(ProviderError, match="takes nothing"):
        roles.remove(URN, role())
    assert roles.read("qhdc/qlvb", role()) is None
    stores["qhdc"].full = False
    roles.remove(URN, role())
    assert [one.found for one in stores.values()] == [{}, {}]


@pytest.mark.parametrize(
    ("statement", "otherwise"),
    [
        ('alter role "qlvb" createdb', {"may": ["log in", "make databases"]}),
        ('alter role "qlvb" nologin', {"may": []}),
        ('alter role "qlvb" connection limit -1', {"connections": -1}),
        ("alter role \"qlvb\" password 'guessed'", {"gaps": ["ndc: another password", "qhdc: another password"]}),
        ('alter role "qlvb" password null', {"gaps": ["ndc: another password", "qhdc: another password"]}),
        ('comment on role "qlvb" is null', {"writer": ""}),
    ],
)
def test_a_role_that_was_changed_by_hand_is_seen_and_put_right(
    socket: Path, stores: dict[str, Kept], statement: str, otherwise: dict[str, Any]
) -> None:
    roles = RoleHandler(Settings())
    roles.write(URN, role())
    by_hand(socket, statement)
    assert stands(roles, role()) == otherwise
    roles.write(URN, role())
    assert stands(roles, role()) == {}


def test_a_store_that_is_away_is_a_gap_that_is_closed_later(stores: dict[str, Kept]) -> None:
    roles = RoleHandler(Settings())
    stores["ndc"].away = True
    assert roles.write(URN, role()) == {"gaps": ["ndc: lets nobody in"]}
    assert stands(roles, role()) == {"gaps": ["ndc: lets nobody in"]}
    stores["ndc"].away = False
    assert stands(roles, role()) == {"gaps": ["ndc: no password"]}
    roles.write(URN, role())
    assert stands(roles, role()) == {}
    stores["qhdc"].away = True
    with pytest.raises(ProviderError, match="lets nobody in"):
        roles.write(URN, role())


def test_nobody_is_let_in_by_what_the_own_store_did_not_take(stores: dict[str, Kept]) -> None:
    stores["qhdc"].full = True
    with pytest.raises(ProviderError, match="takes nothing"):
        RoleHandler(Settings()).write(URN, role())
    assert RoleHandler(Settings()).read("qhdc/qlvb", role()) is None


@pytest.mark.parametrize("what", ["superuser", "replication", "bypassrls"])
def test_a_role_that_may_more_than_can_be_taken_away_is_refused_by_name(
    socket: Path, stores: dict[str, Kept], what: str
) -> None:
    roles = RoleHandler(Settings())
    roles.write(URN, role())
    by_hand(socket, f'alter role "qlvb" {what}')
    with pytest.raises(ProviderError, match=r"qhdc/qlvb: found a role that may do .*; wanted one that may log in"):
        roles.write(URN, role())


@pytest.mark.parametrize(
    ("statement", "otherwise"),
    [
        ('grant connect on database "qlvb" to public', {"admits": ["everybody", "qlvb"]}),
        ('grant connect on database "qlvb" to "other"', {"admits": ["other", "qlvb"]}),
        ('revoke all on database "qlvb" from "qlvb"', {"admits": []}),
        ('alter database "qlvb" reset log_statement', {"logged": False}),
        ('alter database "qlvb" set log_parameter_max_length = -1', {"logged": False}),
        ('comment on database "qlvb" is null', {"writer": ""}),
    ],
)
def test_a_database_that_was_changed_by_hand_is_seen_and_put_right(
    socket: Path, stores: dict[str, Kept], statement: str, otherwise: dict[str, Any]
) -> None:
    databases = DatabaseHandler(Settings())
    for name in ("qlvb", "other"):
        RoleHandler(Settings()).write(URN, role(name))
    for _ in range(2):
        databases.write(URN, database())
    assert stands(databases, database()) == {}
    by_hand(socket, statement)
    assert stands(databases, database()) == otherwise
    databases.write(URN, database())
    assert stands(databases, database()) == {}


def test_what_is_no_personal_data_any_more_is_not_logged(stores: dict[str, Kept]) -> None:
    databases = DatabaseHandler(Settings())
    RoleHandler(Settings()).write(URN, role())
    for information in ("personal", "private"):
        databases.write(URN, database(information))
        assert stands(databases, database(information)) == {}


def test_a_database_goes_only_where_it_holds_nothing_or_by_approval(
    socket: Path, stores: dict[str, Kept], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever asks, a program or the engine; it is said of which application it is, and where that is declared."""
    databases = DatabaseHandler(Settings(trust_access=tmp_path / "access.json"))
    RoleHandler(Settings()).write(URN, role())
    databases.write(URN, database())
    databases.judge(URN, database())
    with connect(socket, "qlvb", user="qlvb") as connection:
        connection.execute("create schema own create table kept (number int)")
    approvals = {"folder": str(tmp_path / "approvals"), "signers": str(tmp_path / "approvers"), "quorum": 2}
    others = {"root": "", "provisioner": "", "stores": {}, "objects": {}, "databases": {}, "clusters": {}}
    (tmp_path / "access.json").write_text(json.dumps(others | {"approvals": approvals}))
    for ask in (databases.judge, databases.remove):
        with pytest.raises(ProviderError) as refusal:
            ask(URN, database())
        assert str(refusal.value).startswith(
            "qhdc/qlvb: has tables of the application van-ban, which would be gone with it; wanted to be kept. Way "
            "out: declare it again (`databases` of van-ban in stacks/catalogue/tenants.yaml), or: "
            f"delete of {URN}: found none in {tmp_path}/approvals; wanted an approval that names it"
        )
        assert stands(databases, database()) == {}
    asked: list[str] = []
    monkeypatch.setattr(databases, "require_approval", lambda urn, why: asked.append(urn))
    for ask in (databases.judge, databases.remove):
        ask("another's", database())
    assert asked == []
    databases.judge(URN, database())
    assert asked.pop() == URN
    databases.remove(URN, database())
    assert asked == [URN]
    assert databases.read("qhdc/qlvb", database()) is None
    databases.write(URN, database())
    with connect(socket, "qlvb", user="qlvb") as pool:
        databases.remove(URN, database())
        with pytest.raises(psycopg.OperationalError):
            pool.execute("select 1")
    assert asked == [URN], "it held nothing"


def test_the_pool_learns_what_passwords_of_applications_are_compared_with_and_of_nobody_else(
    socket: Path, stores: dict[str, Kept]
) -> None:
    RoleHandler(Settings()).write(URN, role())
    by_hand(socket, "create role copies login replication password 'x'")
    try:
        asked = "select role_name, verifier from public.pooled(%s)"
        with connect(socket, "postgres", user="pooler") as pool:
            ((name, verifier),) = pool.execute(asked, ("qlvb",)).fetchall()
            assert name == "qlvb"
            assert scram.fits(verifier, stores["qhdc"].found["databases/qlvb"]["password"])
            for other in ("postgres", "provisioner", "copies", "nobody"):
                assert pool.execute(asked, (other,)).fetchall() == []
        with connect(socket, "postgres", user="rewinder") as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute(asked, ("qlvb",))
    finally:
        by_hand(socket, "drop role copies")
