"""Who is watched by whom, by which rules, and what is written of an alert: derived from the estate and the roles."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import alert_log
import pytest
import yaml
from jinja2 import Environment, StrictUndefined

from qhs import alerts, metrics
from qhs.folders import CLONE
from qhs.inventory import inventory
from stacks.model import Estate, load
from stacks.model.estate import Machine
from stacks.model.rules import Rule, rulesets

HEARTBEAT = "Heartbeat"
NOW = datetime(2026, 11, 26, tzinfo=UTC)
TEMPLATES = alerts.ROLES / "metrics_store" / "templates"
type Target = dict[str, Any]


@pytest.fixture(scope="module", params=["twin", "prod"])
def estate(request: pytest.FixtureRequest) -> Estate:
    return load(request.param, NOW)


def stores(estate: Estate) -> dict[str, dict[str, Any]]:
    """By the machine that holds one, what it is given."""
    given = inventory(estate)
    variables: dict[str, dict[str, Any]] = given["_meta"]["hostvars"]
    return {name: variables[name] for name in given["service_metrics_store"]["hosts"]}


def asked(variables: dict[str, Any]) -> dict[str, str]:
    """The machines that a store asks, and where."""
    return {one["labels"]["instance"]: one["targets"][0] for one in variables["metrics_store_targets"]}


def test_every_machine_is_asked_by_the_store_of_its_site_or_by_every_store(estate: Estate) -> None:
    found = {estate.machines[name].site: asked(variables) for name, variables in stores(estate).items()}
    assert found.keys() == {"qhdc", "ndc"}
    for machine in estate.machines.values():
        at = {site for site, machines in found.items() if machine.name in machines}
        assert at == ({machine.site} if machine.site in found else found.keys()), machine.name


def test_a_machine_and_the_firewalls_between_let_the_store_in_where_it_asks(estate: Estate) -> None:
    every = {one.target: one for site in estate.inventory.sites for one in rulesets(estate, site)}
    units = {name: one for one in every.values() for name in one.members}
    for name, variables in stores(estate).items():
        store = estate.machines[name]
        for machine, target in asked(variables).items():
            if machine != name:
                at, wanted = estate.machines[machine], (store.interfaces[0].address.ipv4, target)
                assert any(lets_in(rule, *wanted) for rule in flows(units[machine], "input")), (name, machine)
                for site in dict.fromkeys((store.site, at.site)) if crossing(store, at) else ():
                    pair = every[f"{site}-fw"]
                    through = "input" if machine in pair.members else "forward"
                    assert any(lets_in(rule, *wanted) for rule in flows(pair, through)), (name, machine, site)


def flows(ruleset: Any, chain: str) -> list[Rule]:
    return [rule for flow in ruleset.flows.values() for rule in flow.rules if rule.chain == chain]


def crossing(store: Machine, machine: Machine) -> bool:
    return store.interfaces[0].place not in {port.place for port in machine.interfaces}


def lets_in(rule: Rule, source: Any, target: str) -> bool:
    address, _, port = target.partition(":")
    return (
        rule.family == "ip"
        and rule.ports == (port,)
        and any(source.subnet_of(ip_network(one)) for one in rule.sources)
        and any(ip_address(address) in ip_network(one) for one in rule.destinations)
    )


def test_the_stores_watch_each_other_where_they_stand(estate: Estate) -> None:
    held = {
        one.name: str(service.targets[0].ipv4.network_address)
        for one in estate.machines.values()
        for service in one.services
        if service.service == metrics.STORE
    }
    for variables in stores(estate).values():
        found = {one["labels"]["instance"]: one["targets"] for one in variables["metrics_store_others"]}
        assert found == {name: [f"{address}:9090"] for name, address in held.items()}


def test_who_may_read_are_names_that_stores_alone_have_in_their_certificates(estate: Estate) -> None:
    variables = inventory(estate)["_meta"]["hostvars"]
    readers = set(metrics.readers(estate))
    assert len(readers) == 2
    assert {name for name, one in variables.items() if readers & set(one["pki_names"])} == stores(estate).keys()
    assert all(set(one["metrics_readers"]) == readers for one in variables.values())


def test_what_a_store_may_fill_is_half_of_its_disk(estate: Estate) -> None:
    for name, variables in stores(estate).items():
        machine = estate.machines[name]
        disk = estate.inventory.sites[machine.site].groups[machine.group].disk_gib
        assert variables["metrics_store_megabytes"] == disk * 512


def rules() -> list[tuple[str, dict[str, Any]]]:
    """Each rule with the role that ships it."""
    return [
        (path.parent.name, rule)
        for path in alerts.files()
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def test_the_rules_of_all_roles_are_collected_and_none_twice() -> None:
    collected = [rule for group in yaml.safe_load(alerts.collected())["groups"] for rule in group["rules"]]
    assert collected == [rule for _, rule in rules()]
    assert {role for role, _ in rules()} >= {"base", "time", "pki", "metrics", "metrics_store"}
    names = [rule["alert"] for rule in collected]
    assert sorted(names) == sorted(set(names))


def test_a_rule_of_another_role_is_found_without_being_listed(tmp_path: Path) -> None:
    shutil.copytree(alerts.ROLES / "time", tmp_path / "time")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "alerts.yml").write_text("groups: [{name: new, rules: [{alert: New, expr: vector(1)}]}]")
    assert [group["name"] for group in yaml.safe_load(alerts.collected(tmp_path))["groups"]] == ["new", "time"]


@pytest.mark.parametrize(("role", "rule"), rules(), ids=lambda one: one if isinstance(one, str) else one["alert"])
def test_a_rule_says_how_grave_it_is_what_is_wrong_and_what_helps(role: str, rule: dict[str, Any]) -> None:
    assert rule["annotations"].keys() == {"summary", "action"}, role
    if rule["alert"] != HEARTBEAT:
        assert rule["labels"]["severity"] in alert_log.PRIORITY, role
        assert "$labels" in rule["annotations"]["summary"], role


def test_every_rule_that_tells_somebody_has_a_case_in_which_it_fires() -> None:
    cases = yaml.safe_load((CLONE / "tests/twin/alert_cases.yml").read_text())["tests"]
    fires = {one["alertname"] for case in cases for one in case["alert_rule_test"] if one["exp_alerts"]}
    assert fires == {rule["alert"] for _, rule in rules()} - {HEARTBEAT}


def test_the_heartbeat_is_handed_over_and_told_to_nobody() -> None:
    routes = yaml.safe_load(rendered("etc/prometheus/qhs/alertmanager.yml"))["route"]["routes"]
    assert routes == [{"matchers": [f"alertname = {HEARTBEAT}"], "receiver": "nobody"}]


def rendered(name: str, **variables: Any) -> str:
    environment = Environment(autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701 - no HTML
    return environment.from_string((TEMPLATES / f"{name}.j2").read_text()).render(
        inventory_hostname="qhdc-soc1", **variables
    )


def test_what_a_store_asks_is_a_file_that_it_reads_again_by_itself(estate: Estate) -> None:
    """So a machine more changes a list of targets, and nothing that needs a restart."""
    said = yaml.safe_load(rendered("etc/prometheus/qhs/prometheus.yml"))
    read = {one["job_name"]: one["file_sd_configs"][0]["files"] for one in said["scrape_configs"]}
    assert read == {"machines": ["/etc/prometheus/qhs/machines.json"], "stores": ["/etc/prometheus/qhs/stores.json"]}
    for variables in stores(estate).values():
        listed = rendered("etc/prometheus/qhs/machines.json", **variables)
        assert json.loads(listed) == variables["metrics_store_targets"]


def test_every_conversation_shows_a_certificate_and_asks_for_one() -> None:
    said = yaml.safe_load(rendered("etc/prometheus/qhs/prometheus.yml"))
    for one in (*said["scrape_configs"], *said["alerting"]["alertmanagers"]):
        assert one["scheme"] == "https"
        assert one["tls_config"].keys() >= {"ca_file", "cert_file", "key_file"}
    for role, path in (("metrics", "node-exporter-web.yml"), ("metrics_store", "qhs/web.yml")):
        template = alerts.ROLES / role / "templates/etc/prometheus" / f"{path}.j2"
        server = yaml.safe_load(
            Environment(autoescape=True).from_string(template.read_text()).render(metrics_readers=["a"])
        )
        assert server["tls_server_config"]["client_auth_type"] == "RequireAndVerifyClientCert"
        assert server["tls_server_config"]["client_allowed_sans"] == ["a"]


def test_a_clock_that_is_the_hosts_is_not_reported_as_the_machines() -> None:
    unit = "metrics/templates/etc/systemd/system/prometheus-node-exporter.service.d/qhs.conf.j2"
    template = Environment(autoescape=True, trim_blocks=True).from_string((alerts.ROLES / unit).read_text())
    assert "--collector.timex" in template.render(qhs_limits=[])
    assert "--collector.timex" not in template.render(qhs_limits=["no-steering"])


def told(status: str) -> dict[str, Any]:
    labels = {"alertname": "MachineDown", "instance": "qhdc-db1", "site": "qhdc", "severity": "critical"}
    said = {"summary": "qhdc-db1 has not answered", "action": "look at its power"}
    return {"alerts": [{"status": status, "labels": labels, "annotations": said}]}


WRITTEN = {
    "firing": "<2>firing MachineDown qhdc-db1 critical: qhdc-db1 has not answered; look at its power\n",
    "resolved": "<5>resolved MachineDown qhdc-db1 critical: qhdc-db1 has not answered\n",
}


@pytest.mark.parametrize("status", WRITTEN)
def test_an_alert_that_is_posted_is_a_line_of_the_journal(status: str) -> None:
    body = json.dumps(told(status)).encode()
    answer, line = posted(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    assert answer.split()[1] == b"204"
    assert line == WRITTEN[status]


def test_more_than_an_alertmanager_sends_is_not_read() -> None:
    answer, line = posted(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (alert_log.LARGEST + 1))
    assert (answer.split()[1], line) == (b"413", "")


def posted(request: bytes) -> tuple[bytes, str]:
    """What the program answers and writes, started as systemd does."""
    ours, its = socket.socketpair()
    with ours, its:
        command = [sys.executable, alert_log.__file__]
        process = subprocess.Popen(command, stdin=its, stdout=subprocess.PIPE, text=True)
        its.close()
        ours.sendall(request)
        answer = ours.recv(4096)
        written, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    return answer, written


def test_the_pairs_of_a_site_with_a_store_are_asked_on_the_wire_of_the_store(estate: Estate) -> None:
    for name, variables in stores(estate).items():
        store = estate.machines[name]
        for pair in estate.firewalls(store.site):
            leg = next(port for port in estate.machines[pair].interfaces if port.place == store.interfaces[0].place)
            assert asked(variables)[pair].startswith(f"{leg.address.ipv4.network_address}:")
