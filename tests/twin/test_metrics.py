"""Each machine answers its stores and nobody else."""

from __future__ import annotations

import contextlib
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from qhs import alerts
from qhs.inventory import inventory
from stacks.model import load
from tests.twin.hosts import Hosts
from tests.twin.metrics_store import OWN, asked, asking
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

GIVEN = inventory(load("twin"))
STORES: list[str] = GIVEN["service_metrics_store"]["hosts"]
VARIABLES: dict[str, dict[str, Any]] = GIVEN["_meta"]["hostvars"]
MACHINE, STORE = "qhdc-edge1", "qhdc-soc1"
ROUND = 75  # seconds: a minute between two questions, and time for answers


def up(hosts: Hosts, store: str) -> dict[tuple[str, str], bool]:
    """What a store thinks of those that it asks, by job and name."""
    found = asked(hosts, store, "targets?state=active")["activeTargets"]
    return {(one["labels"]["job"], one["labels"]["instance"]): one["health"] == "up" for one in found}


def last_asked(hosts: Hosts, store: str, machine: str) -> datetime:
    """When a store last asked a machine."""
    found = asked(hosts, store, "targets?state=active")["activeTargets"]
    (last,) = [
        one["lastScrape"]
        for one in found
        if one["labels"]["instance"] == machine and one["labels"]["job"] == "machines"
    ]
    return datetime.fromisoformat(last)


def down(hosts: Hosts, store: str) -> list[tuple[str, str]]:
    return sorted(one for one, answers in up(hosts, store).items() if not answers)


@pytest.fixture(scope="module", autouse=True)
def _asked_once(hosts: Hosts) -> None:
    """A store that has just started has asked nobody yet; who does not answer is the tests' business."""
    with contextlib.suppress(AssertionError):
        await_(lambda: not any(down(hosts, store) for store in STORES), ROUND)


def test_every_machine_is_up_in_the_store_of_its_site(hosts: Hosts) -> None:
    """Those of the hall at both, and each store in both."""
    for store in STORES:
        machines = {one["labels"]["instance"] for one in VARIABLES[store]["metrics_store_targets"]}
        wanted = {("machines", name) for name in machines} | {("stores", name) for name in STORES}
        assert down(hosts, store) == []
        assert up(hosts, store).keys() == wanted
    watched = {one["labels"]["instance"] for s in STORES for one in VARIABLES[s]["metrics_store_targets"]}
    assert watched == set(VARIABLES)


def test_who_shows_no_certificate_of_a_store_reads_nothing(hosts: Hosts) -> None:
    url = "https://127.0.0.1:9100/metrics"
    for shown in ((), OWN):
        assert hosts.say(asking(url, *shown), [MACHINE])[MACHINE].startswith("refused:"), shown
    assert "node_time_seconds" in hosts.say(asking(url, *OWN), [STORE])[STORE]


def test_the_rules_of_every_role_are_loaded_and_evaluated(hosts: Hosts) -> None:
    wanted = {
        rule["alert"]
        for path in alerts.files()
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    }
    for store in STORES:
        found = [rule for group in asked(hosts, store, "rules")["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in found} == wanted
        assert {rule["health"] for rule in found} == {"ok"}


def test_the_rules_fire_when_they_should_and_not_before(hosts: Hosts) -> None:
    """Against what machines would say; a clock or a certificate need not be broken for it."""
    cases = Path(__file__).with_name("alert_cases.yml").read_text()
    assert "SUCCESS" in hosts.say(f"printf %s {shlex.quote(cases)} | promtool test rules /dev/stdin", [STORE])[STORE]


def test_what_the_rules_look_at_is_measured(hosts: Hosts) -> None:
    """Of every machine that a store asks. A clock that is the host's (`no-steering`) is not reported."""
    for store in STORES:
        machines = len(VARIABLES[store]["metrics_store_targets"])
        counts = {
            query: asked(hosts, store, f"query?query=count({query})")["result"]
            for query in (
                "node_time_seconds",
                'node_systemd_units{state="failed"}',
                'node_filesystem_avail_bytes{mountpoint="/"}',
                'qhs_certificate_end_seconds{kind="machine"}',
                'qhs_certificate_end_seconds{kind="host"}',
                "node_timex_maxerror_seconds",
            )
        }
        found = {query: int(one[0]["value"][1]) if one else 0 for query, one in counts.items()}
        assert found == dict.fromkeys(counts, machines) | {"node_timex_maxerror_seconds": 0}


def test_a_renewed_certificate_is_shown_without_a_restart(hosts: Hosts) -> None:
    served = "openssl s_client -connect 127.0.0.1:9100 </dev/null 2>/dev/null | openssl x509 -noout -serial"
    running = "systemctl show --value --property=MainPID prometheus-node-exporter"
    before = hosts.say(f"{running}; {served}", [MACHINE])[MACHINE].split()
    hosts.say("qhs-pki renew --now", [MACHINE, STORE])
    renewed = datetime.now(UTC)
    after = hosts.say(f"{running}; {served}; openssl x509 -in {OWN[0]} -noout -serial", [MACHINE])[MACHINE].split()
    assert after[0] == before[0]
    assert after[1] == after[2] != before[1]
    await_(lambda: last_asked(hosts, STORE, MACHINE) > renewed, ROUND)
    assert up(hosts, STORE)["machines", MACHINE]
