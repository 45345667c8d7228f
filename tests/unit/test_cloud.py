"""What applications have in clusters: their place, whom their parts may ask, and what is declared of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from catalogue_copy import NOW, Copy
from pulumi.output import Unknown

from stacks.model import Estate, load
from stacks.model.cloud import TenantPlace, places
from tests.policies.recorded import recorded_cloud


@pytest.fixture(scope="module", params=["twin", "prod"])
def estate(request: pytest.FixtureRequest) -> Estate:
    return load(request.param, NOW)


def of(estate: Estate, site: str) -> dict[str, TenantPlace]:
    return {one.name: one for one in places(estate, site)}


def test_an_application_has_a_place_at_each_of_its_sites_where_pods_run(estate: Estate) -> None:
    for site in estate.inventory.sites:
        wanted = [
            name
            for name, one in estate.catalogue.tenants.items()
            if site in one.sites and one.zone in ("app", "gpu", "analytics")
        ]
        assert list(of(estate, site)) == wanted
    assert len(of(estate, "qhdc")) == 37 and len(of(estate, "ndc")) == 22


def test_what_an_application_may_ask_a_flow_of_pods_says_too(estate: Estate) -> None:
    for site in ("qhdc", "ndc"):
        said = {
            (one.source.zone, one.target.service, pair)
            for one in estate.conversations
            if one.source.site == site and estate.catalogue.flows[one.flow].pods
            for pair in one.target.targets
        }
        asked = {
            (one.zone, r.service, pair) for one in places(estate, site) for r in one.reaches for pair in r.addresses
        }
        assert asked <= said


@pytest.mark.parametrize(
    ("tenant", "services"),
    [
        ("theo-doi", {"identity", "secrets", "postgres"}),
        ("cu-tri", {"identity", "secrets", "postgres", "object-store", "signer", "time-stamp", "inference"}),
        ("bieu-quyet", {"identity", "secrets", "ballot-db", "signer", "time-stamp"}),
        ("mail", {"identity", "secrets", "postgres", "object-store", "signer", "time-stamp", "mail-relay"}),
    ],
)
def test_an_application_asks_for_what_it_has_alone(estate: Estate, tenant: str, services: set[str]) -> None:
    assert {one.service for one in of(estate, "qhdc")[tenant].reaches} == services


def test_objects_and_keys_are_asked_for_at_the_own_site_and_databases_at_the_one_that_takes_writes(
    estate: Estate,
) -> None:
    for site, other in (("qhdc", "ndc"), ("ndc", "qhdc")):
        reaches = {one.service: one for one in of(estate, site)["cu-tri"].reaches}
        own, far = (estate.inventory.sites[name].ipv4 for name in (site, other))
        for service in ("object-store", "signer", "time-stamp"):
            assert all(pair.ipv4.subnet_of(own) for pair in reaches[service].addresses)
        assert any(pair.ipv4.subnet_of(far) for pair in reaches["postgres"].addresses)


def test_an_application_uses_nothing_that_no_flow_of_pods_leads_to(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path)
    copy.change("tenants.yaml", "theo-doi:", "  serves:", "  uses: [registry]\n  serves:")
    found = "theo-doi uses registry, where no flow with `pods` leads from qhdc.app"
    (finding,) = copy.findings()
    assert finding.endswith(f"found {found}; wanted such a flow, or an application without")


@pytest.fixture(scope="module")
def declared() -> dict[str, dict[str, Any]]:
    return {raw.name: raw.props for raw in recorded_cloud("twin", "ndc")}


def test_the_second_policy_says_what_the_model_does(declared: dict[str, dict[str, Any]]) -> None:
    def to(service: str, *networks: str) -> dict[str, Any]:
        port = {"protocol": "TCP", "port": {"postgres": 5432, "secrets": 8200}.get(service, 443)}
        return {"to": [{"ipBlock": {"cidr": one}} for one in networks], "ports": [port]}

    spec = declared["ndc-dieu-hanh-flows"]["spec"]
    parts = [{"protocol": "TCP", "port": 8443}]
    assert spec["podSelector"] == {} and spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"from": [{"podSelector": {}}], "ports": parts}]
    own, names, *flows = spec["egress"]
    assert own == {"to": [{"podSelector": {}}], "ports": parts}
    assert names["ports"] == [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    assert flows == [
        to("identity", "10.16.64.20/32", "fd51:1:0:4::14/128", "10.20.64.20/32", "fd51:2:0:4::14/128"),
        to(
            "secrets",
            *("10.20.113.140/32", "fd51:2:0:7::18c/128", "10.20.113.141/32", "fd51:2:0:7::18d/128"),
            *("10.21.49.180/32", "fd51:2:0:13::1b4/128"),
        ),
        to("postgres", "10.16.80.17/32", "fd51:1:0:5::11/128", "10.20.80.17/32", "fd51:2:0:5::11/128"),
        to("signer", "10.20.112.17/32", "fd51:2:0:7::11/128"),
        to("time-stamp", "10.20.112.18/32", "fd51:2:0:7::12/128"),
    ]


def test_an_application_has_the_room_that_it_reserves_when_it_bursts(declared: dict[str, dict[str, Any]]) -> None:
    hard = declared["ndc-bau-cu-room"]["spec"]["hard"]
    assert (hard["requests.cpu"], hard["limits.memory"]) == ("96", "384Gi")
    assert declared["ndc-go-bang-room"]["spec"]["hard"]["requests.nvidia.com/gpu"] == "2"
    assert "requests.nvidia.com/gpu" not in hard


def test_no_part_of_an_application_is_known_to_the_api_and_its_owners_see_no_secret(
    declared: dict[str, dict[str, Any]],
) -> None:
    assert declared["ndc-bau-cu-parts"]["automountServiceAccountToken"] is False
    assert declared["ndc-bau-cu-owners"]["roleRef"]["name"] == "view"
    assert [one["name"] for one in declared["ndc-bau-cu-owners"]["subjects"]] == ["bo-phan-bau-cu"]


def test_an_application_reads_its_own_secrets_and_has_its_own_certificate_signed(
    declared: dict[str, dict[str, Any]],
) -> None:
    assert declared["ndc-application-mail-policy"]["rules"] == {
        "secret/data/databases/mail": ["read"],
        "secret/data/objects/mail": ["read"],
        "pki/sign/application-mail": ["update"],
    }
    token = declared["ndc-application-mail-token"]
    assert (token["account"], token["policies"]) == ("system:serviceaccount:mail:parts", ["application-mail"])
    assert token["audience"] == "secrets.ndc.qhs.internal"
    certificates = declared["ndc-application-mail-certificates"]
    assert certificates["names"] == ["mail.apps.ndc.qhs.internal"] and "addresses" not in certificates


def test_what_the_parts_of_an_application_are_told_is_where_things_are_and_no_secret(
    declared: dict[str, dict[str, Any]],
) -> None:
    pods = declared["ndc-mail-canary"]["spec"]["template"]["spec"]
    ((variable,), (token,)) = (
        pods["containers"][0]["env"],
        next(one["projected"]["sources"] for one in pods["volumes"] if "projected" in one),
    )
    told = json.loads(variable["value"])
    assert told["databases"] == {"host": "postgres.ndc.qhs.internal", "names": ["mail"]}
    assert token["serviceAccountToken"]["audience"] == "secrets.ndc.qhs.internal"
    assert json.loads(declared["ndc-bau-cu-canary"]["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])[
        "databases"
    ]["names"] == ["bau-cu"]


def test_what_may_be_out_for_the_shortest_time_stands_on_two_nodes_where_there_are_two(estate: Estate) -> None:
    for site in ("qhdc", "ndc"):
        for one in places(estate, site):
            nodes = [
                node for node in estate.with_role(site, "worker") if node.interfaces[0].place == f"{site}.{one.zone}"
            ]
            assert one.copies == min(len(nodes), 2 if one.tier == 1 else 1), one.name


def test_the_api_hands_on_what_nodes_and_pods_use_to_its_own_machine_whose_certificate_it_verifies(
    declared: dict[str, dict[str, Any]],
) -> None:
    api, service = (declared[f"ndc-metrics{end}"]["spec"] for end in ("-api", ""))
    assert service == {"type": "ExternalName", "externalName": "127.0.0.1"}
    assert api["service"] == {"name": "metrics-server", "namespace": "kube-system", "port": 4443}
    assert declared["ndc-metrics-api"]["metadata"]["name"] == "v1beta1.metrics.k8s.io"
    assert "insecureSkipTLSVerify" not in api
    assert isinstance(api["caBundle"], Unknown)  # until the stack below is applied


def test_who_tells_what_pods_use_reads_no_more_than_that(declared: dict[str, dict[str, Any]]) -> None:
    rules = declared["ndc-cluster-metrics-role"]["rules"]
    assert [(one["resources"], one["verbs"]) for one in rules] == [
        (["nodes/metrics"], ["get"]),
        (["nodes", "pods"], ["list", "watch"]),
        (["subjectaccessreviews"], ["create"]),
    ]
    assert declared["ndc-cluster-metrics"]["subjects"][0]["name"] == "system:metrics-server"
    readers = declared["ndc-metrics-readers"]
    assert [(one["resources"], one["verbs"]) for one in readers["rules"]] == [(["pods"], ["get", "list", "watch"])]
