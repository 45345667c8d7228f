"""Who has the lease by what its members say, and what machines are told of it."""

from __future__ import annotations

import json

import pytest

from qhs.inventory import groups, inventory
from qhs.lease import cli
from qhs.twin.asking import Answer
from stacks.model import Estate, lease
from stacks.model.estate import LEASE

HELD = {"active": "qhdc", "chosen": "qhdc", "since": "2026-11-29T22:00:00Z", "seconds": 12}
NOBODY = {"active": "", "chosen": "qhdc", "since": "", "seconds": 0}


def answers(**by_machine: dict[str, object] | str) -> dict[str, Answer]:
    """What each member said, or why it did not."""
    return {
        name.replace("_", "-"): Answer(missing=one) if isinstance(one, str) else Answer(json.dumps(one))
        for name, one in by_machine.items()
    }


@pytest.mark.parametrize(
    ("of_ndc", "of_hall", "code", "says"),
    [
        ({"wrong": ""} | HELD, {"wrong": ""} | HELD, 0, "qhdc has the lease since 2026-11-29T22:00:00Z, for 12 s"),
        ({"wrong": ""} | HELD, "no route to host", 3, "qhdc has the lease"),
        ({"wrong": "it knows no leader"}, {"wrong": ""} | HELD, 3, "qhdc has the lease"),
        ({"wrong": ""} | NOBODY, {"wrong": ""} | NOBODY, 2, "no site has the lease; qhdc is chosen"),
        ({"wrong": ""} | NOBODY, "no route to host", 2, "no site has the lease"),
        ({"wrong": "it knows no leader"}, "no route to host", 3, "nobody can say"),
    ],
)
def test_the_answers_of_the_members_come_to_one(
    estate: Estate, of_ndc: dict[str, object], of_hall: dict[str, object] | str, code: int, says: str
) -> None:
    report = cli.judged(estate, answers(ndc_infra1=of_ndc, hall_infra1=of_hall))
    assert report.code == code
    assert says in cli.line(report)
    assert [one.site for one in report.members] == ["ndc", "hall"]
    assert cli.table(report).row_count == 2


def test_each_site_has_a_member_and_the_databases_that_take_writes_renew_at_any(estate: Estate) -> None:
    assert lease.members(estate).keys() == {"qhdc-infra1", "ndc-infra1", "hall-infra1"}
    told = inventory(estate)["_meta"]["hostvars"]
    for site in ("qhdc", "ndc", "hall"):
        one = told[f"{site}-infra1"]
        assert f"{LEASE}.{site}.qhs.internal" in one["pki_names"], "by which the others know it"
        assert f"{LEASE}.{site}.qhs.internal" in one["lease_names"]
        assert one["etcd_member_clusters"]["lease"]["members"] == lease.members(estate)
    holders = {f"{site}-db{number}": site for site in ("qhdc", "ndc") for number in (1, 2)}
    for site in ("qhdc", "ndc"):
        assert told[f"{site}-infra1"]["lease_holders"] == holders
        assert told[f"{site}-db1"]["lease_guard_site"] == site
        assert told[f"{site}-db1"]["lease_guard_doors"][0] == lease.members(estate)[f"{site}-infra1"]
        assert told[f"{site}-db1"]["database_sites"].keys() == {"qhdc", "ndc"}
    assert groups(estate)["writes_by_lease"] == list(holders)


def test_the_ports_of_the_store_and_of_its_door_are_those_of_the_catalogue(estate: Estate) -> None:
    services = estate.catalogue.services
    assert [services["lease"].ports, services["lease-peer"].ports] == [["tcp/2378"], ["tcp/2379-2380"]]
    for variables in inventory(estate)["_meta"]["hostvars"].values():
        ports = [(one["clients"], one["peers"]) for one in variables.get("etcd_member_clusters", {}).values()]
        assert len(set(ports)) == len(ports)
