"""The applications: which demand has which, and what must hold of those that matter most."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stacks.model import Estate, load

NOW = datetime(2026, 11, 25, tzinfo=UTC)
# Each workload that the texts name, with its applications: none may get lost, whatever else serves the demand.
WORKLOADS = {
    "S-012": ["ai-platform", "chuoi-khoi", "thuc-te-ao"],
    "S-100": ["app-quoc-hoi"],
    "S-101": ["app-quoc-hoi", "bieu-quyet", "hop-truc-tuyen"],
    "S-102": ["bieu-quyet"],
    "S-103": ["hop-truc-tuyen"],
    "S-104": ["q-cabinet"],
    "S-105": ["go-bang"],
    "S-106": ["go-bang"],
    "S-107": ["qlvb"],
    "S-108": ["hoc-vu-so"],
    "S-109": ["cu-tri"],
    "S-110": ["kien-nghi"],
    "S-111": ["giam-sat"],
    "S-112": ["bau-cu"],
    "S-113": ["bau-cu"],
    "S-114": ["hscb"],
    "S-115": ["theo-doi"],
    "S-116": ["dai-bieu"],
    "S-117": ["tro-ly-ao"],
    "S-118": ["kho-du-lieu"],
    "S-119": ["so-hoa"],
    "S-120": ["noi-bo"],
    "S-121": ["mail"],
    "S-122": ["lap-phap", "giam-sat", "quyet-dinh"],
    "S-123": ["doi-ngoai"],
    "S-124": ["dan-nguyen", "dai-bieu"],
    "S-125": ["truyen-thong"],
    "S-126": ["dieu-hanh", "quan-tri"],
    "S-127": ["quy-trinh"],
    "S-128": ["csdl-dung-chung"],
    "S-129": ["q-cabinet", "quy-trinh", "qlvb"],
    "S-130": ["tthc"],
    "S-131": ["bau-cu", "dung-chung-dia-phuong"],
    "S-132": ["tro-ly-ao", "ai-platform"],
    "S-133": ["ai-platform"],
}  # fmt: skip


@pytest.fixture(scope="module")
def prod() -> Estate:
    return load("prod", NOW)


@pytest.mark.parametrize("demand", WORKLOADS)
def test_a_workload_has_its_applications(prod: Estate, demand: str) -> None:
    assert [name for name, one in prod.catalogue.tenants.items() if demand in one.serves] == WORKLOADS[demand]


def test_a_public_application_is_reached_from_outside(prod: Estate) -> None:
    """Over the public edge, the mobile gateway or the media relay, and on by the ingress."""
    assert any(one.public for one in prod.catalogue.tenants.values())
    onward = {one.source.zone for one in prod.conversations if one.target.service == "ingress"}
    entered = {one.destination.zone for one in prod.conversations if one.source.name == "internet"}
    for name, tenant in prod.catalogue.tenants.items():
        assert not tenant.public or (tenant.zone == "app" and entered & onward), name


def test_partners_of_an_application_meet_it_at_a_gateway(prod: Estate) -> None:
    """An application speaks to a partner over the zone that the partner's own network ends in."""
    door = {"tslcd": "dmz-exchange", "internet": "dmz-intl"}
    cat = prod.catalogue
    reached = {(one.source.zone, one.destination.partner) for one in prod.conversations if one.destination.partner}
    leading = {(one.source.zone, one.destination.zone) for one in prod.conversations}
    for name, tenant in cat.tenants.items():
        for partner in tenant.partners:
            gateway = door[cat.partners[partner].via]
            assert (tenant.zone, gateway) in leading, (name, partner)
            assert (gateway, partner) in reached, (name, partner)


def test_elections_come_first(prod: Estate) -> None:
    tenants = prod.catalogue.tenants
    election = tenants["bau-cu"]
    assert (election.tier, election.level) == (1, 4)
    assert election.capacity.burst == max(one.capacity.burst for one in tenants.values())
    for burst in election.burst_windows:
        assert any(burst.first <= freeze.first and freeze.last <= burst.last for freeze in election.freeze_windows)


def test_sessions_run_on_tier_one_and_are_frozen_while_they_burst(prod: Estate) -> None:
    for name in ("app-quoc-hoi", "bieu-quyet", "hop-truc-tuyen", "q-cabinet", "xac-thuc", "ky-so"):
        tenant = prod.catalogue.tenants[name]
        assert tenant.tier == 1, name
        assert tenant.freeze_windows == tenant.burst_windows != [], name


def test_voting_shares_no_ingress_database_or_key(prod: Estate) -> None:
    tenants = prod.catalogue.tenants
    assert [name for name, one in tenants.items() if one.signing == "ballot"] == ["bieu-quyet"]
    sources = {one.source.zone for one in prod.conversations if one.target.service == "ballot-ingress"}
    assert sources == {"session-hall", "dmz-mobile"}
    assert {one.flow for one in prod.conversations if one.target.service == "ballot-db"} == {
        "app-to-ballot-db", "operator-to-interfaces",
    }  # fmt: skip


def test_every_pillar_and_every_tier_has_tenants(prod: Estate) -> None:
    tenants = prod.catalogue.tenants.values()
    assert {one.tier for one in tenants} == set(prod.catalogue.tiers)
    assert {one.pillar for one in tenants} == {
        "institutions", "data", "platforms", "people", "security",
    }  # fmt: skip  # the pillar of infrastructure is what the tenants stand on


def test_recovery_gets_slower_from_tier_to_tier(prod: Estate) -> None:
    tiers = [prod.catalogue.tiers[number] for number in sorted(prod.catalogue.tiers)]
    for name in ("rto_minutes", "rpo_minutes", "mtd_minutes"):
        figures = [getattr(tier, name) for tier in tiers]
        assert figures == sorted(set(figures)), name
    assert [tier.replica for tier in tiers] == [True, True, False, False]
