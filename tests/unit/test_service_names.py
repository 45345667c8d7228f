"""The names that follow the lease: which there are, who answers them, and where they lead."""

from __future__ import annotations

import pytest
import qhs_active_names
from catalogue_copy import NOW

from qhs.inventory import groups, inventory
from stacks.model import Estate, certificates, load, service_names
from stacks.model.ingress import application
from tests.policies.recorded import recorded_network


@pytest.fixture(scope="module", params=["twin", "prod"])
def estate(request: pytest.FixtureRequest) -> Estate:
    return load(request.param, NOW)


def test_there_are_the_databases_and_what_people_come_to_at_every_site_that_may_have_the_lease(estate: Estate) -> None:
    found = service_names.labels(estate)
    assert found[0] == "postgres"
    for name, tenant in estate.catalogue.tenants.items():
        comes = tenant.public or tenant.deputies
        wanted = bool(comes) and tenant.tier in (1, 2) and tenant.sites == ["qhdc", "ndc"]
        assert (f"{name}.apps" in found) == wanted, name
    assert len(found) == len(set(found)) > 5


def test_each_leads_on_to_a_name_that_the_stacks_of_the_site_declare(estate: Estate) -> None:
    """The role says that there is an alias; where that leads is the stacks'."""
    for site in service_names.sites(estate):
        raws = recorded_network(estate.inventory.environment, site)
        declared = {one.props["name"]: one.props["addresses"] for one in raws if one.type == "qhs:dns:Record"}
        for label in service_names.labels(estate):
            assert declared[f"{label}.{estate.domain(site)}"] == service_names.leads(estate, label)[site].texts()
        assert not [name for name in declared if name.endswith(service_names.domain(estate))]
    assert application(estate, "q-cabinet", "ndc") == f"q-cabinet.apps.{estate.domain('ndc')}"


def test_whoever_it_leads_to_has_a_certificate_for_it(estate: Estate) -> None:
    for site in service_names.sites(estate):
        of_site = [one for one in estate.machines.values() if one.site == site]
        for machine in of_site:
            by_role = {"database": {"postgres"}, "firewall": set()}
            found = {one for one in certificates.names(estate, machine) if one in _all(estate)}
            for role, labels in by_role.items():
                if role in machine.roles:
                    assert found == {service_names.name(estate, label) for label in labels}, machine.name
        answered = {one for machine in of_site for one in certificates.names(estate, machine)}
        assert _all(estate) <= answered


def _all(estate: Estate) -> set[str]:
    return {service_names.name(estate, label) for label in service_names.labels(estate)}


def test_the_house_has_no_databases_and_answers_none(estate: Estate) -> None:
    assert groups(estate)["names_by_lease"] == ["qhdc-infra1", "ndc-infra1"]
    told = inventory(estate)["_meta"]["hostvars"]
    assert told["hall-infra1"]["dns_service_sites"] == ["qhdc", "ndc"]
    assert not [name for name in told["hall-infra1"] if name.startswith("active_names_")]
    own = told["ndc-infra1"]
    assert own["active_names_authority"]["address"] in own["dns_authorities"]["ndc"]["addresses"]
    assert own["active_names_authority"]["name"] == own["dns_authorities"]["ndc"]["name"]
    assert own["active_names_seconds"] < told["hall-infra1"]["lease_seconds"]


class Place:
    """An authority that notes what it was told, and a clock; at qhdc, where a word is good for 10 s."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.away = False
        self.time = 100.0
        self.follower = qhs_active_names.Follower(
            "qhdc", 10, lambda: self._do("answer"), lambda: self._do("refuse"), lambda: self.time
        )

    def hears(self, active: str) -> None:
        self.follower.hear(active, self.time)
        self.follower.act()

    def _do(self, what: str) -> None:
        if self.away:
            raise qhs_active_names.RefusedError("no control socket")
        self.told.append(what)


def test_it_answers_while_its_site_has_the_lease_and_is_told_so_once() -> None:
    place = Place()
    for active in ("", "ndc", "qhdc", "qhdc", "ndc", "ndc", "qhdc", ""):
        place.hears(active)
    assert place.told == ["refuse", "answer", "refuse", "answer", "refuse"]


def test_where_no_majority_answers_the_last_word_is_good_for_a_while() -> None:
    place = Place()
    place.hears("qhdc")
    place.time += 9.9
    place.follower.act()
    assert place.told == ["answer"]
    place.time += 0.1
    place.follower.act()
    assert place.told == ["answer", "refuse"]


def test_nobody_is_told_anything_of_another_sites_lease_but_to_refuse() -> None:
    place = Place()
    place.follower.act()
    assert place.told == ["refuse"], "it begins that way, whatever the authority did before"


def test_an_authority_that_is_away_is_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    place = Place()
    place.hears("qhdc")
    place.away = True
    place.hears("")
    place.hears("")
    place.away = False
    place.hears("")
    assert place.told == ["answer", "refuse"]
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "the authority answers", "the authority does not refuse: no control socket", "the authority refuses"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("looks", "wrong"),
    [
        (["", "refuses"], ""),
        (["refuses", ""], ""),
        (["refuses", "refuses", "refuses"], "refuses"),
        (["refuses", None, None], "refuses"),
        ([None, None, None], ""),
        ([None, ""], ""),
    ],
)
def test_what_is_wrong_stays_so_for_some_looks(
    monkeypatch: pytest.MonkeyPatch, looks: list[str | None], wrong: str
) -> None:
    seen = iter(looks)
    monkeypatch.setattr(qhs_active_names, "differs", lambda: next(seen))
    monkeypatch.setattr(qhs_active_names, "EVERY", 0)
    assert qhs_active_names.wrong() == wrong
