"""Who is let in through a bastion, for how long, and to what; OpenSSH judges the certificates."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import qhs_session
import yaml
from jinja2 import Environment

from qhs.errors import UserError
from qhs.inventory import inventory
from qhs.pki import files
from qhs.pki.cli import longest
from qhs.pki.people import Person, admit
from qhs.twin.sshkey import make
from stacks.model import Estate, load

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ROLES = Path(__file__).parents[2] / "roles"


@pytest.fixture
def public(tmp_path: Path) -> str:
    return make(tmp_path / "id").with_name("id.pub").read_text()


@pytest.fixture(scope="module", params=["twin", "prod"])
def estate(request: pytest.FixtureRequest) -> Estate:
    return load(request.param, NOW)


def entries(own: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(files.people(own).read_text())
    return found


def test_a_person_has_a_certificate_and_an_entry_for_the_same_hours(own: Path, public: str, tmp_path: Path) -> None:
    file = tmp_path / "id-cert.pub"
    file.write_bytes(admit(own, public, Person("le-b", "suppliers", NOW + timedelta(hours=3)), NOW))
    said = subprocess.run(
        ["ssh-keygen", "-L", "-f", file], capture_output=True, text=True, check=True, env={"TZ": "UTC"}
    ).stdout
    assert 'Key ID: "le-b"' in said
    assert "from 2026-11-25T11:55:00 to 2026-11-25T15:00:00" in said
    principals, _, extensions = said.partition("Principals:")[2].partition("Critical Options: (none)")
    assert principals.split() == ["suppliers", "suppliers:le-b"]
    assert extensions.partition("Extensions:")[2].split() == ["permit-agent-forwarding", "permit-pty"]
    assert entries(own) == {"suppliers": {"le-b": "20261125150000Z"}}


def test_an_entry_that_has_ended_is_crossed_out_by_the_next(own: Path, public: str) -> None:
    admit(own, public, Person("le-b", "suppliers", NOW + timedelta(hours=3)), NOW)
    later = NOW + timedelta(hours=3)
    admit(own, public, Person("ly-c", "operators", later + timedelta(hours=1)), later)
    assert entries(own) == {"suppliers": {}, "operators": {"ly-c": "20261125160000Z"}}


def test_a_group_says_how_long_and_only_names_that_are_no_account_get_in(estate: Estate) -> None:
    assert longest(estate, "le-b", "suppliers") == estate.catalogue.people["suppliers"].hours
    for name, group in (("le-b", "others"), ("Lê B", "suppliers"), ("x:operators", "suppliers"), ("", "suppliers")):
        with pytest.raises(UserError, match="wanted"):
            longest(estate, name, group)


def test_each_group_has_its_account_and_its_entries() -> None:
    """Roles name the accounts of the groups: a new group needs one."""
    groups = set(load("twin").catalogue.people)
    assert set(yaml.safe_load((ROLES / "base" / "owns.yml").read_text())["users"]) == groups
    listed = {path.name.removesuffix(".j2") for path in (ROLES / "bastion/templates/etc/ssh/qhs-people").iterdir()}
    assert listed == groups
    accounts = (ROLES / "base/templates/etc/sysusers.d/qhs-base.conf.j2").read_text()
    assert set(re.findall(r"^u (\S+) ", accounts, re.MULTILINE)) == groups
    shut_out = (ROLES / "base/templates/etc/ssh/sshd_config.d/15-qhs-base.conf.j2").read_text()
    assert {group for group in groups if f"'{group}'" in shut_out} == groups


def test_a_bastion_gives_nobody_a_right_and_leads_to_every_other_machine_of_its_site(estate: Estate) -> None:
    given = inventory(estate)["_meta"]["hostvars"]
    bastions = [name for name, one in given.items() if "bastion_machines" in one]
    assert bastions
    for name in bastions:
        assert {group for groups in given[name]["qhs_people"].values() for group in groups} == {"qhs-ssh"}
        led_to = given[name]["bastion_machines"]
        site = estate.machines[name].site
        assert led_to.keys() == {one for one in estate.machines if estate.machines[one].site == site} - set(bastions)
        assert all(set(one["people"]) == given[other]["qhs_people"].keys() for other, one in led_to.items())


def test_suppliers_enter_no_machine_but_those_of_their_roles(estate: Estate) -> None:
    roles = set(estate.catalogue.people["suppliers"].roles or ())
    entered = {name for name, one in estate.machines.items() if "suppliers" in estate.people(one)}
    assert roles
    assert entered == {name for name, one in estate.machines.items() if roles & set(one.roles)}


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the role writes for the session's program."""
    given = {"qhdc-app1": {"people": ["operators", "suppliers"]}, "qhdc-db1": {"people": ["operators"]}}
    template = (ROLES / "bastion/templates/etc/qhs/bastion/machines.json.j2").read_text()
    file = tmp_path / "machines.json"
    render = Environment(trim_blocks=True, lstrip_blocks=True).from_string(template).render  # noqa: S701 - it is no HTML
    file.write_text(render(bastion_machines=given))
    monkeypatch.setattr(qhs_session, "MACHINES", file)
    monkeypatch.setattr(qhs_session, "RECORDINGS", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))


@pytest.mark.usefixtures("machines")
def test_a_session_is_for_a_machine_that_the_group_may_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    qhs_session.refuse("operators", "qhdc-db1")
    qhs_session.refuse("suppliers", "qhdc-app1")
    for account, machine in (("suppliers", "qhdc-db1"), ("operators", ""), ("operators", "-oProxyCommand=id")):
        with pytest.raises(qhs_session.RefusedError, match=r"wanted one of qhdc-app1"):
            qhs_session.refuse(account, machine)
    monkeypatch.delenv("SSH_AUTH_SOCK")
    with pytest.raises(qhs_session.RefusedError, match="found no agent"):
        qhs_session.refuse("operators", "qhdc-db1")


@pytest.mark.usefixtures("machines")
def test_no_session_begins_where_the_disk_of_recordings_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qhs_session, "ROOM", 1 << 62)
    with pytest.raises(qhs_session.RefusedError, match="no session can be recorded, so there is none: found"):
        qhs_session.refuse("operators", "qhdc-db1")
