"""What must hold of the real catalogue in both environments, and of the real estate's machines and sizes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from policies import baseline
from stacks.model import Estate, load
from stacks.model.catalogue import Tenant, ZoneKind
from stacks.model.inventory import Group

NOW = datetime(2026, 11, 25, tzinfo=UTC)
PROTECTED = set(baseline.load().thresholds("C-NET-03")["protected"])
# How many machines of a role a data centre has at least.
LEAST = {
    "firewall": 2, "control-plane": 3, "worker": 6, "gpu": 2, "database": 3, "storage": 4, "hsm": 2, "soc": 2,
    "backup": 2, "bastion": 2, "mirror": 2, "infrastructure": 2, "edge": 2, "media": 2,
}  # fmt: skip


@pytest.fixture(scope="module", params=["twin", "prod"])
def estate(request: pytest.FixtureRequest) -> Estate:
    return load(request.param, NOW)


@pytest.fixture(scope="module")
def prod() -> Estate:
    return load("prod", NOW)


# --- the catalogue: what the machine must know without a rule of the baseline ---


def test_both_environments_load_without_a_finding(estate: Estate) -> None:
    assert estate.conversations


def test_prod_loads_fast_and_stays_provable() -> None:
    start = time.process_time()
    conversations = load("prod", datetime.now(UTC)).conversations
    assert time.process_time() - start < 2
    assert len(conversations) < 6000


def test_every_routed_zone_has_a_flow(estate: Estate) -> None:
    used = {place.zone for one in estate.conversations for place in (one.source, one.destination)}
    assert {name for name, zone in estate.catalogue.zones.items() if zone.firewall != "leg"} - used == set()


def test_every_partner_and_every_service_has_a_flow(prod: Estate) -> None:
    partners = {place.partner for one in prod.conversations for place in (one.source, one.destination)}
    assert prod.catalogue.partners.keys() - partners == set()
    assert prod.catalogue.services.keys() - {one.target.service for one in prod.conversations} == set()


def test_whatever_comes_from_outside_ends_at_a_service_that_breaks_the_chain(estate: Estate) -> None:
    zones, services = estate.catalogue.zones, estate.catalogue.services
    inward = [one for one in estate.conversations if one.source.site is None]
    assert inward
    for one in inward:
        assert services[one.target.service].breaks, one.flow
        assert one.destination.zone is not None, one.flow
        assert zones[one.destination.zone].kind not in PROTECTED, one.flow


def test_state_bodies_are_reached_over_the_specialised_network_only(estate: Estate) -> None:
    cat = estate.catalogue
    for name, partner in cat.partners.items():
        medium = cat.externals[partner.via].medium
        assert medium == "tslcd" if partner.state_body else medium in ("internet", "branch"), name


def test_foreign_partners_reach_the_international_zone_only(estate: Estate) -> None:
    foreign = {"ipu", "parliaments", "forums"}
    met = [one for one in estate.conversations if foreign & {one.source.partner, one.destination.partner}]
    assert {one.destination.zone for one in met if one.source.partner} == {"dmz-intl"}
    assert {one.source.zone for one in met if one.destination.partner} == {"dmz-intl"}


def test_a_zone_has_at_least_the_level_of_what_it_carries(estate: Estate) -> None:
    cat = estate.catalogue
    for name, service in cat.services.items():
        assert all(cat.zones[place].level >= service.level for place in service.places if place in cat.zones), name
    for name, tenant in cat.tenants.items():
        assert cat.zones[tenant.zone].level >= tenant.level, name


def test_the_enclave_is_an_island_inside_one_site(estate: Estate) -> None:
    zone = estate.catalogue.zones["secret"]
    assert (zone.sites, zone.firewall, zone.level) == (["qhdc"], "none", 5)
    for one in estate.conversations:
        assert (one.source.zone == "secret") == (one.destination.zone == "secret")
    tenants = [one for one in estate.catalogue.tenants.values() if one.information == "state-secret"]
    assert {one.zone for one in tenants} == {"secret"}
    assert all(one.sites == ["qhdc"] and not (one.databases or one.buckets or one.partners) for one in tenants)


def test_the_ai_zone_reaches_nothing_outside_its_site(estate: Estate) -> None:
    # Names and time come from every site's infrastructure, so that a machine keeps them when its own site's are gone;
    # logs go to two sites.
    allowed = {"postgres", "identity", "endpoint-defence", "mirror", "names", "time", "logs"}
    out = [one for one in estate.conversations if one.source.zone == "gpu"]
    assert {one.target.service for one in out if one.destination.site != one.source.site} <= allowed
    assert not {one.destination.zone for one in out} & {"egress", "dmz-exchange", "dmz-intl", "secret"}


def test_wireless_reaches_neither_databases_nor_management(estate: Estate) -> None:
    zones = estate.catalogue.zones
    met = {one.destination.zone for one in estate.conversations if one.source.zone == "wireless"}
    assert met
    # Its users' own machines report to the operations centre, as every machine does.
    assert not {zones[zone].kind for zone in met if zone} & {*PROTECTED, ZoneKind.STORAGE} - {ZoneKind.SOC}


def test_what_is_temporary_ends(estate: Estate) -> None:
    for name, flow in estate.catalogue.flows.items():
        temporary = {"viettel", "vendor", "legacy"} & set(flow.source) or "legacy-web" in flow.to
        lasting = set(flow.source) - {"viettel", "vendor", "legacy"}
        assert (flow.expires is not None) == bool(temporary and (not lasting or "legacy-web" in flow.to)), name


# --- the real estate ---


def _groups(estate: Estate, site: str, role: str) -> list[Group]:
    return [one for one in estate.inventory.sites[site].groups.values() if role in one.roles]


def _count(groups: Iterable[Group]) -> int:
    return sum(one.count for one in groups)


@pytest.mark.parametrize("site", ["qhdc", "ndc"])
@pytest.mark.parametrize(("role", "least"), LEAST.items())
def test_a_data_centre_has_enough_machines_of_each_role(prod: Estate, site: str, role: str, least: int) -> None:
    assert _count(_groups(prod, site, role)) >= least


def test_the_house_has_firewalls_infrastructure_and_wireless(prod: Estate) -> None:
    assert {role: _count(_groups(prod, "hall", role)) for role in ("firewall", "infrastructure", "wireless")} == {
        "firewall": 2, "infrastructure": 2, "wireless": 2,
    }  # fmt: skip


def test_members_of_a_majority_are_odd_and_in_racks_of_their_own(prod: Estate) -> None:
    for site, role in [(site, role) for site in ("qhdc", "ndc") for role in ("control-plane", "secrets")]:
        racks = [one.rack for one in prod.machines.values() if one.site == site and role in one.roles]
        assert len(racks) == len(set(racks)) == 3, (site, role)
    for site in ("qhdc", "ndc"):
        assert _count(_groups(prod, site, "database-quorum")) == 5
    lease = [one.site for one in prod.machines.values() if "lease" in one.roles]
    assert sorted(lease) == ["hall", "ndc", "qhdc"]


def test_nothing_stands_in_one_rack_only(prod: Estate) -> None:
    racks: dict[tuple[str, str], set[str]] = {}
    for machine in prod.machines.values():
        for role in {*machine.roles} - {"lease"}:
            racks.setdefault((machine.site, role), set()).add(machine.rack)
    assert [where for where, found in racks.items() if len(found) < 2] == []


def test_a_pairs_members_have_rooms_and_carriers_of_their_own(prod: Estate) -> None:
    for name, site in prod.inventory.sites.items():
        rooms = [site.racks[prod.machines[member].rack].room for member in prod.firewalls(name)]
        assert len(set(rooms)) == 2, name
        assert all(rack.power_feeds == 2 for rack in site.racks.values())
        assert len(set(site.carriers)) >= 2, name


def test_owned_and_leased_are_both_expressed(prod: Estate) -> None:
    sites = prod.inventory.sites
    assert {name: site.ownership for name, site in sites.items()} == {
        "qhdc": "owned", "ndc": "leased", "hall": "owned",
    }  # fmt: skip
    assert "leased" in {one.ownership for one in sites["ndc"].groups.values()}


def test_every_service_address_that_a_flow_leads_to_is_held(prod: Estate) -> None:
    held = Counter((one.service, one.place) for machine in prod.machines.values() for one in machine.services)
    services = prod.catalogue.services
    wanted = {
        (one.service, one.place)
        for one in (said.target for said in prod.conversations)
        if services[one.service].on == "address" and prod.places[one.place].site
    }
    assert wanted - held.keys() == set()
    assert [key for key, count in held.items() if count > 1] == []


def test_a_service_is_held_by_machines_of_its_role(prod: Estate) -> None:
    for machine in prod.machines.values():
        for held in machine.services:
            assert prod.catalogue.services[held.service].role in machine.roles, (machine.name, held.service)


POOLS = {"app": "application", "gpu": "gpu", "analytics": "analytics", "soc": "soc", "pilot": "trial"}


@pytest.mark.parametrize(("site", "tiers"), [("qhdc", {1, 2, 3, 4}), ("ndc", {1, 2})], ids=["qhdc", "ndc"])
def test_with_one_machine_out_there_is_room_for_every_burst(prod: Estate, site: str, tiers: set[int]) -> None:
    """C-DR-08: at `ndc` for tier 1 and 2; at `qhdc` for all. Bursts are taken to come together."""
    placed: dict[str, list[Tenant]] = {}
    for tenant in prod.catalogue.tenants.values():
        if tenant.tier in tiers and site in tenant.sites and tenant.zone != "secret":
            placed.setdefault(tenant.zone, []).append(tenant)
    assert placed.keys() <= POOLS.keys()
    for zone, tenants in placed.items():
        pool = [one for one in prod.inventory.sites[site].groups.values() if one.zone == zone]
        (group,) = (one for one in pool if POOLS[zone] in one.roles)
        left = group.count - 1
        assert sum(one.capacity.most_cpu for one in tenants) <= left * group.cpu, zone
        assert sum(one.capacity.most_memory_gib for one in tenants) <= left * group.memory_gib, zone
        assert sum(one.capacity.gpu for one in tenants) <= left * group.gpu, zone


def test_every_tenant_of_tier_one_and_two_has_its_place_at_the_national_data_centre(prod: Estate) -> None:
    vital = [one for one in prod.catalogue.tenants.values() if one.tier <= 2]
    assert len(vital) > 20
    assert all(one.sites == ["qhdc", "ndc"] for one in vital)


COPIES = 3  # of each object in a site's store: the reservation of the tests, not of the store itself


@pytest.mark.parametrize("site", ["qhdc", "ndc"])
def test_storage_holds_three_copies_of_what_is_reserved_with_one_machine_out(prod: Estate, site: str) -> None:
    reserved = sum(one.capacity.storage_gib for one in prod.catalogue.tenants.values() if site in one.sites)
    (group,) = _groups(prod, site, "storage")
    assert reserved * COPIES <= (group.count - 1) * group.disk_gib
