"""What stands in databases, as stacks declare it: names, passwords, what is not known before it is asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from unittest.mock import Mock

import psycopg
import pytest

from stacks.model import load
from stacks.model.data import RESERVED, active, databases, members
from stacks.model.objects import buckets
from stacks.name import SITELESS
from stacks.provider.access import TrustAccess
from stacks.provider.data import scram, servers
from stacks.provider.data.client import DataError
from stacks.provider.data.handlers import DatabaseHandler, RoleHandler
from stacks.provider.data.resources import Database, Role
from stacks.provider.data.spec import DatabaseAccess
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.storage.resources import Bucket
from tests.policies.recorded import asked

DECLARED = {"site": "qhdc", "owner": "vpqh-cntt", "level": 4, "serves": ["S-006"]}
DATABASE = DECLARED | {"name": "qlvb", "tenant": "qlvb", "role": "qlvb", "information": "personal"}
ROLE = DECLARED | {"name": "qlvb", "connections": 20, "stores": ["ndc", "qhdc"]}
# The example of RFC 7677, 3, in the form of PostgreSQL.
PENCIL = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


@pytest.mark.parametrize(
    ("verifier", "password", "fits"),
    [(PENCIL, "pencil", True), (PENCIL, "pencils", False), ("md5abc", "pencil", False), ("", "", False)],
)
def test_a_password_fits_its_own_verifier_alone(verifier: str, password: str, fits: bool) -> None:
    assert scram.fits(verifier, password) == fits


@pytest.mark.parametrize("name", [*sorted(RESERVED), "pg-monitor", "Qlvb", "qlvb; drop", ""])
def test_names_that_the_servers_use_themselves_or_that_are_none_are_refused(name: str) -> None:
    assert RoleHandler(Settings()).check(ROLE | {"name": name}).failures
    assert DatabaseHandler(Settings()).check(DATABASE | {"name": name}).failures


def test_what_is_declared_is_in_one_form() -> None:
    assert RoleHandler(Settings()).check(ROLE | {"stores": ["qhdc", "ndc", "qhdc"]}).inputs == ROLE
    assert DatabaseHandler(Settings()).check(DATABASE).inputs == DATABASE


@pytest.mark.parametrize(("information", "logged"), [("personal", True), ("private", False), ("public", False)])
def test_statements_on_personal_data_are_logged(information: str, logged: bool) -> None:
    assert DatabaseHandler(Settings()).outputs("urn", DATABASE | {"information": information}) == {
        "writer": "urn",
        "admits": ["qlvb"],
        "logged": logged,
    }


@pytest.mark.parametrize("environment", ["twin", "prod"])
def test_every_database_of_a_tenant_is_at_the_site_that_takes_writes(environment: str) -> None:
    estate = load(environment)
    declared = [one for tenant in estate.catalogue.tenants.values() for one in tenant.databases]
    assert sorted(one.name for one in databases(estate)) == sorted(declared)
    assert active(estate) == "qhdc"
    assert members(estate)["qhdc"].name == f"postgres.qhdc.{estate.inventory.domain}"


def test_without_a_file_that_says_where_databases_are_it_is_said() -> None:
    with pytest.raises(ProviderError, match="qhs:trustAccess: found nothing"):
        RoleHandler(Settings()).write("urn", ROLE)


def test_what_an_application_has_is_the_same_at_whichever_site_it_is_declared() -> None:
    """The one elsewhere would be written, and then this one taken away: both are one."""
    estate = load("twin")
    found = Counter(one.type for one in asked("twin", "ndc", SITELESS) if list(one.ignoreChanges) == ["site"])
    each = len(list(databases(estate)))
    assert found == {Role.TYPE: each, Database.TYPE: each, Bucket.TYPE: len(list(buckets(estate)))}


@pytest.mark.parametrize(("sites", "said"), [(["qhdc", "ndc"], "qhdc, ndc"), (["ndc"], "ndc")])
def test_what_was_declared_at_a_site_is_asked_for_there_first_and_then_at_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sites: list[str], said: str
) -> None:
    """Also where that site has no databases any more."""
    those = {site: DatabaseAccess(name=f"postgres.{site}.qhs.test", members={}) for site in sites}
    access = TrustAccess.model_construct(databases=those, root=tmp_path / "root", provisioner=tmp_path / "provisioner")
    monkeypatch.setattr(TrustAccess, "read", lambda _: access)
    monkeypatch.setattr(servers, "_connect", Mock(side_effect=psycopg.OperationalError("nobody there")))
    (config := tmp_path / "ssh").touch()
    with pytest.raises(DataError, match=f"the databases of {said}: found nobody there"):
        servers.server(Settings(ssh_config=config), "qhdc").host()


def test_an_estate_of_which_nobody_says_where_its_databases_are_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrustAccess, "read", lambda _: TrustAccess.model_construct(databases={}))
    (config := tmp_path / "ssh").touch()
    with pytest.raises(ProviderError, match="qhdc: found no databases in"):
        servers.server(Settings(ssh_config=config), "qhdc")
