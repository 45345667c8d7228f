"""Where people come to applications: who is led to which, by which name, and what the cluster lets come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from catalogue_copy import NOW, Copy

from stacks.model import Estate, certificates, load, service_names
from stacks.model.cloud import places
from stacks.model.estate import FIREWALL
from stacks.model.given import given
from stacks.model.ingress import PEOPLE, VOTES, public, trusted, ways_in
from tests.policies.recorded import recorded_cloud, recorded_network

SITES = ("qhdc", "ndc")


@pytest.fixture(scope="module", params=["twin", "prod"])
def estate(request: pytest.FixtureRequest) -> Estate:
    return load(request.param, NOW)


@pytest.mark.parametrize("site", SITES)
def test_people_come_to_what_is_public_or_for_deputies_where_it_runs(estate: Estate, site: str) -> None:
    ways = ways_in(estate, site)
    led = {tenant for way in ways.values() for tenant in way.tenants}
    tenants = estate.catalogue.tenants.items()
    assert led == {name for name, one in tenants if (one.public or one.deputies) and site in one.sites}
    assert ways[VOTES].tenants == {"bieu-quyet"}
    assert not ways[PEOPLE].tenants & ways[VOTES].tenants
    assert {one.tenant for one in public(estate, site)} == {one for one in led if estate.catalogue.tenants[one].public}
    assert "bieu-quyet" not in {one.tenant for one in public(estate, site)}


def test_where_no_application_runs_nobody_is_led_to_one(estate: Estate) -> None:
    assert ways_in(estate, "hall") == {} and public(estate, "hall") == ()


@pytest.mark.parametrize("site", SITES)
def test_an_application_is_asked_for_by_the_name_that_its_parts_have_certificates_of(estate: Estate, site: str) -> None:
    by_tenant = {place.name: given(estate, site, place).certificate for place in places(estate, site)}
    for way in ways_in(estate, site).values():
        for one in way.published:
            assert one.name == by_tenant[one.tenant]
            assert one.parts == f"front.{one.tenant}.svc.cluster.local"


@pytest.mark.parametrize("site", SITES)
def test_its_machine_and_the_edge_have_the_names_that_they_answer_by(estate: Estate, site: str) -> None:
    for machine in estate.machines.values():
        if machine.site == site:
            held = {one.service for one in machine.services}
            wanted = {
                one.name for way in ways_in(estate, site).values() if way.service in held for one in way.published
            }
            wanted |= {one.name for one in public(estate, site)} if "public-edge" in held else set()
            found = certificates.names(estate, machine)
            labels = service_names.labels(estate)
            wanted |= {
                service_names.name(estate, label) for label in labels if f"{label}.{estate.domain(site)}" in wanted
            }
            assert {one for one in found if ".apps." in one} == wanted
            assert len(found) == len(set(found))


def test_only_machines_that_end_what_comes_from_outside_are_believed_for_whom_they_ask(estate: Estate) -> None:
    own = {pair: one for one in estate.machines.values() for pair in (one.interfaces[0].address, *one.answers_at)}
    for site in SITES:
        for way in ways_in(estate, site).values():
            asking = {own[pair] for pair in trusted(estate, way)}
            assert all("edge" in one.roles and FIREWALL not in one.roles for one in asking)
            led = {one.source.name for one in estate.conversations if one.target.service == way.service}
            assert {one.interfaces[0].place for one in asking} <= led
        assert trusted(estate, ways_in(estate, site)[PEOPLE])


def test_parts_hear_the_way_in_to_them_and_no_other(estate: Estate) -> None:
    for site in SITES:
        ways = ways_in(estate, site)
        for place in places(estate, site):
            wanted = [way.address for way in ways.values() if place.name in way.tenants]
            assert ([place.people] if place.people else []) == wanted


def test_nobody_is_led_to_another_zone(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path)
    copy.change("tenants.yaml", "tro-ly-ao:", "  serves:", "  deputies: true\n  serves:")
    (finding,) = copy.findings()
    assert finding.endswith(
        "found people come to tro-ly-ao, which is in gpu, by ingress; wanted a zone of ingress: app"
    )


@pytest.fixture(scope="module")
def declared() -> dict[str, dict[str, Any]]:
    return {raw.name: raw.props for raw in recorded_cloud("twin", "ndc")}


def test_the_cluster_lets_the_way_in_ask_the_parts_and_knows_which_are_ready(
    declared: dict[str, dict[str, Any]],
) -> None:
    own, way = declared["ndc-cu-tri-flows"]["spec"]["ingress"][0]["from"][0], ["10.20.64.17/32", "fd51:2:0:4::11/128"]
    assert own == {"podSelector": {}}
    assert declared["ndc-cu-tri-flows"]["spec"]["ingress"] == [
        {
            "from": [own, *({"ipBlock": {"cidr": one}} for one in way)],
            "ports": [{"protocol": "TCP", "port": 8443}],
        }
    ]
    votes = declared["ndc-bieu-quyet-flows"]["spec"]["ingress"][0]["from"]
    assert votes == [own, {"ipBlock": {"cidr": "10.20.64.19/32"}}, {"ipBlock": {"cidr": "fd51:2:0:4::13/128"}}]
    front = declared["ndc-cu-tri-front"]["spec"]
    assert (front["clusterIP"], front["selector"]) == ("None", {"part": "canary"})
    assert front["ports"] == [{"protocol": "TCP", "port": 8443}]
    assert "ndc-dieu-hanh-front" not in declared


def test_its_name_leads_to_the_way_in(estate: Estate) -> None:
    environment = estate.inventory.environment
    found = recorded_network(environment, "ndc")
    records = {one.props["name"]: one.props for one in found if one.type == "qhs:dns:Record"}
    for way in ways_in(estate, "ndc").values():
        for one in way.published:
            assert records[one.name]["addresses"] == way.address.texts()
            assert records[one.name]["owner"] == estate.catalogue.tenants[one.tenant].owner
    assert "ingress.ndc." + estate.inventory.domain in records
