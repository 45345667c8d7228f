"""The address plan, literal by literal: whatever moves an address of the real estate turns this red."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from stacks.model import addresses, load
from stacks.model.addresses import Pair

ZONES = {
    "dmz-public": 1, "dmz-exchange": 2, "dmz-intl": 3, "app": 4, "data": 5, "storage": 6, "signing": 7,
    "management": 8, "soc": 9, "backup": 10, "user-lan": 11, "wireless": 12, "session-hall": 13, "pilot": 14,
    "staging": 15, "legacy": 16, "vendor": 17, "landing": 18, "infra": 19, "gpu": 20, "media": 21, "dmz-mobile": 22,
    "egress": 23, "secret": 24, "control": 25, "analytics": 26, "mirror": 27, "mgmt-ports": 40, "sync": 41,
}  # fmt: skip

PARTNERS = {
    ("tslcd", "document-axis"): 1, ("tslcd", "data-exchange"): 2, ("tslcd", "population-db"): 3,
    ("tslcd", "national-dc"): 4, ("tslcd", "party"): 10, ("tslcd", "government"): 11, ("tslcd", "procuracy"): 12,
    ("tslcd", "court"): 13, ("tslcd", "state-audit"): 14, ("tslcd", "fatherland-front"): 15,
    ("tslcd", "localities"): 16, ("tslcd", "cyber-security-agency"): 20,
    ("tslcd", "information-security-agency"): 21, ("tslcd", "incident-response"): 22,
    ("tslcd", "cipher-committee-ca"): 23, ("branch", "delegation-office"): 1, ("internet", "ipu"): 1,
    ("internet", "parliaments"): 2, ("internet", "forums"): 3, ("internet", "viettel"): 4,
}  # fmt: skip

SERVICES = {
    "public-edge": 1, "public-names": 2, "mail-relay": 3, "exchange-gateway": 1, "intl-gateway": 1,
    "mobile-gateway": 1, "media-relay": 1, "media-control": 2, "office-gateway": 1, "pam": 1, "web-proxy": 1,
    "names-forwarder": 2, "ingress": 1, "api-bus": 2, "ballot-ingress": 3, "identity": 4, "mail-store": 5,
    "inference": 1, "lake-query": 1, "pilot-ingress": 1, "staging-ingress": 1, "legacy-web": 1, "kube-api": 1,
    "postgres": 1, "ballot-db": 2, "object-store": 1, "signer": 1, "time-stamp": 2, "bastion": 1, "names": 1,
    "time": 2, "names-primary": 5, "pki": 6, "packages": 7, "registry": 8, "mirror": 1, "siem": 1,
    "endpoint-defence": 2, "logs": 3, "metrics-store": 4, "backup-store": 1,
    "state-gateway": 1, "agency-feed": 1, "duty-ca": 1, "foreign-gateway": 1,
}  # fmt: skip

NETWORKS = {
    "twin": {
        "qhdc": (1, "10.16.0.0/14", "fd51:1::/48"),
        "ndc": (2, "10.20.0.0/14", "fd51:2::/48"),
        "hall": (3, "10.24.0.0/14", "fd51:3::/48"),
        "internet": ("198.18.0.0/16", "2001:db8:18::/48"),
        "tslcd": ("10.200.0.0/16", "fd51:c8::/48"),
        "branch": ("10.201.0.0/16", "fd51:c9::/48"),
        "dci": ("10.202.0.0/16", "fd51:ca::/48"),
        "carrier-a": ("10.203.0.0/16", "fd51:cb::/48"),
        "carrier-b": ("10.204.0.0/16", "fd51:cc::/48"),
    },
    "prod": {
        "qhdc": (1, "10.64.0.0/14", "fd51:e41:1::/48"),
        "ndc": (2, "10.68.0.0/14", "fd51:e41:2::/48"),
        "hall": (3, "10.72.0.0/14", "fd51:e41:3::/48"),
        "internet": ("198.19.0.0/16", "2001:db8:19::/48"),
        "tslcd": ("10.248.0.0/16", "fd51:e41:c8::/48"),
        "branch": ("10.249.0.0/16", "fd51:e41:c9::/48"),
        "dci": ("10.250.0.0/16", "fd51:e41:ca::/48"),
        "carrier-a": ("10.251.0.0/16", "fd51:e41:cb::/48"),
        "carrier-b": ("10.252.0.0/16", "fd51:e41:cc::/48"),
    },
}

SITE = Pair(ip_network("10.16.0.0/14"), ip_network("fd51:1::/48"))


def test_the_arithmetic_of_the_plan() -> None:
    assert addresses.SEGMENT_LENGTH == {4: 20, 6: 64}
    assert addresses.PARTNER_LENGTH == {4: 24, 6: 64}
    assert (addresses.GATEWAY, addresses.FIREWALL, addresses.SERVICE) == (1, 1, 16)
    assert (addresses.MACHINE, addresses.CLIENT, addresses.PARTNER_HOST) == (256, 1280, 16)


def test_indexes_of_zones_partners_and_services_never_move() -> None:
    cat = load("prod").catalogue
    assert {name: zone.index for name, zone in cat.zones.items()} == ZONES
    assert {(one.via, name): one.index for name, one in cat.partners.items()} == PARTNERS
    assert {name: one.number for name, one in cat.services.items() if one.number} == SERVICES


@pytest.mark.parametrize("environment", ["twin", "prod"])
def test_prefixes_of_sites_and_networks_never_move(environment: str) -> None:
    inventory = load(environment).inventory
    sites = {name: (one.index, str(one.ipv4), str(one.ipv6)) for name, one in inventory.sites.items()}
    outside = inventory.externals | inventory.carriers
    networks = {name: (str(one.ipv4), str(one.ipv6)) for name, one in outside.items()}
    assert sites | networks == NETWORKS[environment]


def test_a_segment_is_its_zones_share_of_the_site() -> None:
    assert addresses.segment(SITE, 4).texts() == ["10.16.64.0/20", "fd51:1:0:4::/64"]
    assert addresses.segment(SITE, 41).texts() == ["10.18.144.0/20", "fd51:1:0:29::/64"]
    with pytest.raises(ValueError, match=r"^index 64 does not fit: 10\.16\.0\.0/14 holds 64$"):
        addresses.segment(SITE, 64)


def test_a_host_is_one_address_of_each_family() -> None:
    app = addresses.segment(SITE, 4)
    host = addresses.host(app, 286)
    assert host.texts() == ["10.16.65.30", "fd51:1:0:4::11e"]
    assert addresses.with_length(host, app) == ["10.16.65.30/20", "fd51:1:0:4::11e/64"]


def test_what_the_smallest_twin_is_known_by() -> None:
    estate = load("twin")
    app, db, fw = (estate.machines[name] for name in ("qhdc-app1", "qhdc-db1", "qhdc-fw1"))
    assert [port.cidrs for port in app.interfaces] == [
        ("10.16.65.50/20", "fd51:1:0:4::132/64"),
        ("10.18.129.50/20", "fd51:1:0:28::132/64"),
    ]
    assert [one.targets[0].texts() for one in db.services] == [
        ["10.16.80.18", "fd51:1:0:5::12"],
        ["10.16.80.17", "fd51:1:0:5::11"],
    ]
    ports = {port.name: port for port in fw.interfaces}
    assert ports["app"].cidrs == ("10.16.64.2/20", "fd51:1:0:4::2/64")
    assert ports["app"].gateway is not None
    assert ports["app"].gateway.texts() == ["10.16.64.1", "fd51:1:0:4::1"]
    assert ports["sync"].gateway is None
    assert ports["internet"].cidrs == ("198.18.0.18/16", "2001:db8:18::12/48")
    assert ports["carrier-b"].cidrs == ("10.204.0.18/16", "fd51:cc::12/48")
    assert ports["carrier-b"].gateway is not None
    assert ports["carrier-b"].gateway.texts() == ["10.204.0.17", "fd51:cc::11"]
    assert ports["ipsec0"].cidrs == ("10.202.0.18/32", "fd51:ca::12/128")
    assert ports["ipsec0"].gateway is None
    assert "secret" not in ports
    axis = estate.places["tslcd.document-axis"]
    assert axis.prefix.texts() == ["10.200.1.0/24", "fd51:c8:0:1::/64"]
    assert estate.operator("qhdc").texts() == ["10.18.128.1", "fd51:1:0:28::1"]


def test_each_delegation_office_has_a_prefix_of_its_own() -> None:
    estate = load("prod")
    offices = [place for place in estate.places.values() if place.partner == "delegation-office"]
    assert len(offices) == estate.inventory.delegation_offices
    assert offices[0].name == "branch.delegation-office-01"
    assert offices[0].prefix.texts() == ["10.249.1.0/24", "fd51:e41:c9:1::/64"]
    assert len({place.prefix for place in offices}) == len(offices)
