"""What the edge, the way out and inspection need to know comes from the catalogue and the estate alone."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from qhs.inventory import groups, inventory
from stacks.model import load, service_names
from stacks.model.estate import Estate

NOW = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.fixture(scope="module", params=["twin", "prod"])
def estate(request: pytest.FixtureRequest) -> Estate:
    return load(request.param, NOW)


def holding(estate: Estate, group: str) -> dict[str, dict[str, Any]]:
    """The variables of the machines of a group."""
    variables = inventory(estate)["_meta"]["hostvars"]
    return {name: variables[name] for name in groups(estate)[group]}


def inside(address: str, networks: list[str]) -> bool:
    return any(ip_address(address) in ip_network(one) for one in networks)


def test_an_edge_asks_the_way_in_of_its_own_site_by_the_name_in_its_certificate(estate: Estate) -> None:
    behind = {one["qhs_site"]: one for one in holding(estate, "service_ingress").values()}
    edges = holding(estate, "service_public_edge")
    assert {one["qhs_site"] for one in edges.values()} == {"qhdc", "ndc"}
    for edge in edges.values():
        asked, way = edge["public_edge_applications"], behind[edge["qhs_site"]]
        assert asked["address"] in way["ingress_ways"]["ingress"]["addresses"]
        assert asked["name"] in way["pki_names"]


def test_an_edge_lets_the_public_come_on_to_what_is_public_and_is_believed_for_whom_it_asks(estate: Estate) -> None:
    ways = {one["qhs_site"]: one["ingress_ways"] for one in holding(estate, "service_ingress").values()}
    for edge in holding(estate, "service_public_edge").values():
        site = edge["qhs_site"]
        public = {f"{name}.apps.{estate.domain(site)}" for name, one in estate.catalogue.tenants.items() if one.public}
        named = [one for one in edge["public_edge_names"] if one.endswith(estate.domain(site))]
        assert set(named) == public & ways[site]["ingress"]["published"].keys()
        follow = set(edge["public_edge_names"]) - set(named)
        assert follow
        svc = service_names.domain(estate)
        assert {one.removesuffix(svc) + estate.domain(site) for one in follow} <= set(named)
        assert set(edge["public_edge_names"]) <= set(edge["pki_names"])
        assert {edge["pki_names"][-1], *edge["public_edge_addresses"]} <= set(ways[site]["ingress"]["trusted"])


def test_each_way_in_answers_by_the_names_of_its_applications_alone(estate: Estate) -> None:
    for name, one in holding(estate, "service_ingress").items():
        people, votes = one["ingress_ways"]["ingress"], one["ingress_ways"]["ballot-ingress"]
        assert not people["published"].keys() & votes["published"].keys()
        assert people["published"].keys() | votes["published"].keys() <= set(one["pki_names"])
        assert not set(people["addresses"]) & set(votes["addresses"])
        assert name in estate.machines
        assert one["cluster_names_here"]


def test_a_proxy_leads_each_source_to_what_its_own_flow_names(estate: Estate) -> None:
    flows = estate.catalogue.flows
    for proxy in holding(estate, "service_web_proxy").values():
        led = {tuple(one["destinations"]): one["sources"] for one in proxy["egress_proxy_flows"]}
        assert led.keys() == {tuple(flows[name].destinations) for name in ("people-to-web", "servers-to-web")}
        people, servers = (led[tuple(flows[name].destinations)] for name in ("people-to-web", "servers-to-web"))
        own_soc = estate.places[f"{proxy['qhs_site']}.soc"].prefix.texts()
        assert set(estate.places["hall.user-lan"].prefix.texts()) <= set(people)
        assert set(own_soc) <= set(servers)
        assert not set(people) & set(servers)
        assert proxy["egress_proxy_resolvers"]


def test_a_firewall_knows_who_may_come_by_ssh_and_leaves_its_own_talk_out(estate: Estate) -> None:
    for name, member in holding(estate, "role_firewall").items():
        assert inside(estate.places["hall.user-lan"].prefix.texts()[0].split("/")[0], member["inspection_ssh_from"])
        assert not inside("198.18.0.1", member["inspection_ssh_from"])
        ports = {port.name: str(port.address.ipv4.network_address) for port in estate.machines[name].interfaces}
        apart = {leg for leg, address in ports.items() if inside(address, member["inspection_apart"])}
        assert apart == {"mgmt-ports", "sync"}
