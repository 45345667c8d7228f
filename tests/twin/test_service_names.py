"""Names follow the lease: each site's resolver leads to the site that has it, and no other authority answers."""

from __future__ import annotations

import json

import pytest

from qhs.active_names import authorities, where
from qhs.twin.names import Twin
from stacks.model import load, service_names
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
DOMAIN = service_names.domain(ESTATE)
LABELS = service_names.labels(ESTATE)
LEADS = {label: service_names.leads(ESTATE, label) for label in LABELS}
CHECK = "/usr/local/lib/qhs-active-names/qhs_active_names.py check"


@pytest.fixture(scope="module")
def active(qhs: Run, second_up: WatchedUp) -> str:
    """The site that has the lease."""
    return str(json.loads(qhs("lease", "status", "--json").stdout)["active"])


def test_every_resolver_leads_to_the_databases_of_the_site_that_has_the_lease(twin: Twin, active: str) -> None:
    wanted = dict.fromkeys(ESTATE.active_sites, LEADS["postgres"][active].texts()[0])
    await_(lambda: where(twin, ESTATE, f"postgres.{DOMAIN}") == wanted, 20)


def test_a_machine_finds_every_one_of_them_there(hosts: Hosts, active: str) -> None:
    """By the way that programs take, and in both families."""
    asked = "; ".join(f"getent ahosts {label}.{DOMAIN}" for label in LABELS)
    found = hosts.say(asked, ["ndc-db1", "qhdc-app1", "hall-infra1"])
    wanted = {text for label in LABELS for text in LEADS[label][active].texts()}
    assert {name: {line.split()[0] for line in said.splitlines()} for name, said in found.items()} == dict.fromkeys(
        found, wanted
    )


def test_the_authority_of_the_site_answers_and_the_others_refuse(hosts: Hosts, active: str) -> None:
    for name, addresses in authorities(ESTATE).items():
        asked = "; ".join(f"kdig @{one} +norec postgres.{DOMAIN} | grep -o 'status: [A-Z]*'" for one in addresses)
        wanted = "NOERROR" if ESTATE.machines[name].site == active else "SERVFAIL"
        assert hosts.say(asked, [name])[name].split("\n") == [f"status: {wanted}"] * len(addresses), name
    assert set(hosts.say(CHECK, authorities(ESTATE)).values()) == {""}


def test_no_resolver_believes_it_for_longer_than_the_domain_says(hosts: Hosts, active: str) -> None:
    asked = f"getent hosts postgres.{DOMAIN} >/dev/null; kdig +noall +answer postgres.{DOMAIN} A | head -1"
    for name, said in hosts.say(asked, [f"{site}-infra1" for site in ESTATE.active_sites]).items():
        assert said.split()[3] == "CNAME", name
        assert int(said.split()[1]) <= service_names.TTL, name


def test_an_authority_that_nobody_minds_refuses_until_somebody_does(hosts: Hosts, active: str) -> None:
    (name,) = (one for one in authorities(ESTATE) if ESTATE.machines[one].site == active)
    ask = f"kdig @{authorities(ESTATE)[name][0]} +norec postgres.{DOMAIN} | grep -o 'status: [A-Z]*'"
    try:
        said = hosts.say(f"systemctl stop qhs-active-names.service; {ask}", [name])[name]
    finally:
        hosts.say("systemctl start qhs-active-names.service", [name])
    assert said == "status: SERVFAIL"
    await_(lambda: hosts.say(ask, [name])[name] == "status: NOERROR", 20)
