"""Every demand is in the baseline with the layer that serves it; those that the catalogue must serve, it serves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from policies.baseline import Baseline
from policies.coverage import missing, served
from stacks.model import Estate, load
from stacks.model.catalogue import Catalogue

NOW = datetime(2026, 11, 25, tzinfo=UTC)
# Ranges of ids that the catalogue itself must serve; the rest waits for its layer.
CATALOGUE = ((1, 31), (80, 98), (100, 133))


def _of_catalogue(baseline: Baseline) -> list[str]:
    return [one for one in baseline.demands if any(low <= int(one[2:]) <= high for low, high in CATALOGUE)]


def _without(estate: Estate, kind: str, *names: str) -> Estate:
    """The estate as it would be if these elements were gone."""
    elements = {name: one for name, one in getattr(estate.catalogue, kind).items() if name not in names}
    return Estate(estate.catalogue.model_copy(update={kind: elements}), estate.inventory)


@pytest.fixture(scope="module")
def prod() -> Estate:
    return load("prod", NOW)


def test_the_ranges_hold_what_they_should(baseline: Baseline) -> None:
    assert len(_of_catalogue(baseline)) == 31 + 19 + 34


def test_no_demand_on_the_catalogue_is_left_unserved(prod: Estate, baseline: Baseline) -> None:
    assert missing(prod, NOW, _of_catalogue(baseline)) == []


def test_whatever_is_cited_is_in_the_baseline(prod: Estate, baseline: Baseline) -> None:
    assert set(_cited(prod)) - baseline.ids == set()


def _cited(estate: Estate) -> Iterator[str]:
    for kind in Catalogue.model_fields:
        for element in getattr(estate.catalogue, kind).values():
            yield from getattr(element, "serves", [])
    for site in estate.inventory.sites.values():
        yield from site.serves


@pytest.mark.parametrize(
    ("kind", "names", "lost"),
    [
        ("flows", ["axis-to-exchange", "exchange-to-state-bodies"], "S-086"),
        ("flows", ["users-to-pilot", "zones-to-api-bus"], "S-020"),
        ("flows", ["app-to-postgres", "operator-to-interfaces"], "S-006"),
        ("tenants", ["bau-cu"], "S-112"),
        ("tenants", ["go-bang"], "S-105"),
        ("tenants", ["theo-doi"], "S-115"),
    ],
)
def test_an_element_that_is_gone_is_missed(prod: Estate, kind: str, names: list[str], lost: str) -> None:
    poorer = _without(prod, kind, *names)
    serving = served(prod, NOW)[lost]
    assert {f"{kind.removesuffix('s')} {name}" for name in names} & serving
    assert served(poorer, NOW).get(lost, set()) < serving


def test_a_demand_whose_only_tenant_is_gone_is_listed(prod: Estate, baseline: Baseline) -> None:
    assert missing(_without(prod, "tenants", "bau-cu"), NOW, _of_catalogue(baseline)) == ["S-112", "S-113"]


def test_a_partner_whose_flows_are_gone_serves_nothing(prod: Estate) -> None:
    poorer = _without(prod, "flows", "foreign-to-international", "international-to-foreign")
    by = served(poorer, NOW)
    assert "S-083" not in by
    assert "partner ipu" not in by.get("S-082", set())
    assert "tenant doi-ngoai" not in by["S-123"], "it needs partners that nothing reaches"


def test_an_expired_flow_serves_nothing(prod: Estate) -> None:
    late = datetime(2027, 4, 1, tzinfo=UTC)
    assert "flow vendor-to-pam" in served(prod, NOW)["S-095"]
    assert "S-095" not in served(prod, late)


def test_a_site_without_firewalls_serves_nothing(baseline: Baseline) -> None:
    by = served(load("twin", NOW), NOW)
    assert not {element for elements in by.values() for element in elements} & {"site ndc", "site hall"}
