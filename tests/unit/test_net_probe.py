"""Which packets `qhs net probe` sends, and what it makes of each one's fate."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from catalogue_copy import NOW, Copy

from qhs.net.probe import vantage
from qhs.net.probe.packets import Fate, send
from qhs.net.probe.run import Probe, Result, probes
from qhs.net.probe.vantage import Vantage, vantages
from qhs.twin.names import Twin
from stacks.model import Estate

EXPIRY = datetime.fromisoformat("2027-03-31T17:00:00Z")


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine runs here: which namespace is its own does not matter."""
    monkeypatch.setattr(vantage, "_namespace", lambda _twin, _machine: Path("/nowhere"))


def places(estate: Estate) -> list[Vantage]:
    return vantages(estate, Twin("none"))


@pytest.mark.usefixtures("anywhere")
def test_a_packet_of_an_expired_flow_must_not_get_through(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path, "twin")
    copy.change("flows.yaml", "app-to-postgres:", "review:", f"expires: {EXPIRY.isoformat()}\n  review:")
    estate = copy.read()

    def allowed(now: datetime) -> set[str | None]:
        return {one.allowed_by for one in probes(estate, places(estate), now) if one.target.service == "postgres"}

    assert "app-to-postgres" in allowed(EXPIRY - timedelta(seconds=1))
    assert "app-to-postgres" not in allowed(EXPIRY)


@pytest.mark.usefixtures("anywhere")
def test_a_sample_is_one_allowed_and_one_denied_packet_a_service_and_family(estate: Estate) -> None:
    def kind(one: Probe) -> tuple[str, bool, bool]:
        return one.target.service, ":" in one.address, one.allowed_by is None

    every = probes(estate, places(estate), NOW)
    sample = probes(estate, places(estate), NOW, sample=True)
    assert sorted(map(kind, sample)) == sorted({kind(one) for one in every})
    assert {one.allowed_by is None for one in sample} == {False, True}
    assert set(sample) <= set(every)


@pytest.mark.usefixtures("anywhere")
def test_a_packet_that_no_rule_stopped_is_not_as_wanted(estate: Estate) -> None:
    """From a place with a gateway, the want of a route or of a wire says nothing about rules."""
    every = probes(estate, places(estate), NOW)
    allowed = next(one for one in every if one.allowed_by)
    denied = next(one for one in every if one.source.name == "voter" and not one.allowed_by)
    unrouted = next(one for one in every if one.source.place == "qhdc.mgmt-ports" and not one.allowed_by)
    wanted = {one: {fate for fate in Fate if Result(one, fate).as_wanted} for one in (allowed, denied, unrouted)}
    assert wanted == {
        allowed: {Fate.OPEN},
        denied: {Fate.DROP, Fate.REJECT},
        unrouted: {Fate.DROP, Fate.REJECT, Fate.NO_ROUTE},
    }


@pytest.mark.usefixtures("anywhere")
def test_every_place_of_the_twin_has_a_neighbour_to_ask_first(estate: Estate) -> None:
    asked = {(one.source.name, one.neighbour, one.routed) for one in probes(estate, places(estate), NOW)}
    assert {one for one in asked if one[0] in ("voter", "axis", "official")} == {
        *(("voter", gateway, True) for gateway in ("198.18.0.17", "198.18.0.33", "198.18.0.49")),
        *(("voter", gateway, True) for gateway in ("2001:db8:18::11", "2001:db8:18::21", "2001:db8:18::31")),
        *(("axis", gateway, True) for gateway in ("10.200.0.17", "10.200.0.33")),
        *(("axis", gateway, True) for gateway in ("fd51:c8::11", "fd51:c8::21")),
        ("axis", None, False),  # the specialised network has no leg at the House
        ("official", "10.16.176.1", True),
        ("official", "fd51:1:0:b::1", True),
    }
    operators = {text for site in estate.active_sites for text in estate.operator(site).texts()}
    assert {neighbour for name, neighbour, routed in asked if not routed} == {*operators, None}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_service_that_says_nothing_is_open_by_its_handshake(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as silent:
        port = silent.getsockname()[1]
        assert send("tcp", address, port, address, echo=False) is Fate.OPEN
        assert send("tcp", address, port, address) is Fate.DROP, "our own listener echoes"
    assert send("tcp", address, port, address, echo=False) is Fate.REJECT


def test_an_address_of_its_own_that_is_gone_is_no_want_of_a_route() -> None:
    assert send("tcp", "127.0.0.1", 1, "192.0.2.1") is Fate.NO_WIRE


@pytest.mark.usefixtures("anywhere")
def test_of_a_service_that_everyone_has_a_machine_of_each_place_is_probed(estate: Estate) -> None:
    found = {one.holder: one for one in probes(estate, places(estate), NOW) if one.target.service == "metrics"}
    inhabited = {
        port.place
        for one in estate.machines.values()
        for port in one.interfaces
        if "firewall" not in one.roles and port.name in estate.catalogue.services["metrics"].places
    }
    assert sorted(one.place for one in found) == sorted(inhabited)
    assert all(probe.address in holder.addresses for holder, probe in found.items())
