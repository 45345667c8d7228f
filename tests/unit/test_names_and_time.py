"""Who answers for names and time, where logs go, and what the names are: derived from the estate alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from qhs.inventory import inventory, nearest, records
from stacks.model import load
from stacks.model.estate import Estate, Machine

NOW = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.fixture(scope="module", params=["twin", "prod"])
def estate(request: pytest.FixtureRequest) -> Estate:
    return load(request.param, NOW)


def test_a_machine_asks_its_own_site_first_and_another_after(estate: Estate) -> None:
    for name, variables in inventory(estate)["_meta"]["hostvars"].items():
        own, *others = variables["qhs_resolvers"]
        assert own == nearest(estate, estate.machines[name].site, "names")[0], name
        assert others, name
        assert len(set(variables["qhs_time_sources"])) >= 2, name


def test_a_time_server_does_not_follow_itself(estate: Estate) -> None:
    found = inventory(estate)["_meta"]["hostvars"]
    for site in estate.inventory.sites:
        own = nearest(estate, site, "time")[0]
        servers = [name for name, one in found.items() if one["qhs_site"] == site and "qhs_time_clock" in one]
        assert len(servers) == 1
        assert own not in found[servers[0]]["qhs_time_sources"]


def test_a_machine_sends_its_logs_to_its_own_site_and_to_another(estate: Estate) -> None:
    found = inventory(estate)["_meta"]["hostvars"]
    addresses = {
        f"{one.service}.{estate.domain(site)}": one.targets[0].texts()
        for site in estate.inventory.sites
        for one in estate.served(site)
    }
    sites = [site for site in estate.inventory.sites if f"logs.{estate.domain(site)}" in addresses]
    assert len(sites) >= 2
    for name, variables in found.items():
        one, other = (store["name"].split(".")[1] for store in variables["logging_stores"])
        assert one != other, name
        assert one == variables["qhs_site"] or variables["qhs_site"] not in sites, name
        for store in variables["logging_stores"]:
            assert store["address"] in addresses[store["name"]]


def test_a_log_store_knows_networks_and_no_machine(estate: Estate) -> None:
    """So that one more changes nothing there (T-A04)."""
    stores = [one for one in inventory(estate)["_meta"]["hostvars"].values() if "log_store_months" in one]
    zones = [place for place in estate.places.values() if place.zone]
    assert len(stores) == 2
    for months in (one["log_store_months"] for one in stores):
        for place in zones:
            zone = estate.catalogue.zones[place.zone or ""]
            kept = estate.catalogue.retention[zone.level].log_months if zone.firewall == "gateway" else None
            assert months.get(str(place.prefix.ipv4)) == kept, place.name


def test_every_machine_and_every_authority_has_a_name_in_both_families(estate: Estate) -> None:
    known = records(estate)
    authorities = {f"{name}.ns" for name, one in estate.machines.items() if _holds(one, "names-primary")}
    assert len(authorities) == len(estate.inventory.sites)
    assert known.keys() == {*estate.machines, *(f"{name}.mgmt" for name in estate.machines), *authorities}
    assert all([":" in address for address in addresses] == [False, True] for addresses in known.values())


def test_no_name_is_both_the_roles_and_the_stacks(estate: Estate) -> None:
    """A machine's name is the role's, a service's the stack's: they are in different domains."""
    domains = {f".{site}" for site in estate.inventory.sites}
    assert not [name for name in records(estate) if any(f".{name}".endswith(domain) for domain in domains)]


def _holds(machine: Machine, service: str) -> bool:
    return service in (one.service for one in machine.services)
