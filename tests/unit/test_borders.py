"""What the edge, the way out and inspection need to know comes from the catalogue and the estate alone."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from qhs.inventory import groups, inventory
from stacks.model import load
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


def test_an_edge_asks_the_applications_of_its_own_site_by_the_name_in_their_certificate(estate: Estate) -> None:
    pages = {one["qhs_site"]: one for one in holding(estate, "service_ingress").values()}
    edges = holding(estate, "service_public_edge")
    assert {one["qhs_site"] for one in edges.values()} == {"qhdc", "ndc"}
    for edge in edges.values():
        behind, page = edge["public_edge_applications"], pages[edge["qhs_site"]]
        assert behind["address"] in page["sample_page_addresses"]
        assert behind["name"] in page["pki_names"]
        assert edge["public_edge_name"] in edge["pki_names"]


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
