"""Which packets `qhs net probe` sends, and what it makes of each one's fate."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from catalogue_copy import NOW, Copy

from qhs.net.probe import vantage
from qhs.net.probe.agree import KINDS, disagreements
from qhs.net.probe.cells import FIREWALL, REST, Cell, Probe, probes
from qhs.net.probe.flight import fly
from qhs.net.probe.listener import GREETING
from qhs.net.probe.packets import Fate, Order
from qhs.net.probe.run import Result
from qhs.net.probe.vantage import Vantage, vantages
from qhs.net.prove import Facts, Judge, Proof, decided, judge
from qhs.twin.names import Twin
from stacks.model import Estate

type Tell = Callable[[list[Result]], list[str]]
EXPIRY = datetime.fromisoformat("2027-03-31T17:00:00Z")


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine runs here: which namespace is its own does not matter."""
    monkeypatch.setattr(vantage, "_namespace", lambda _twin, _machine: Path("/nowhere"))
    monkeypatch.setattr(vantage, "_has", lambda _namespace, _service: False)


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


@pytest.fixture(scope="module")
def every(estate: Estate) -> list[Probe]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vantage, "_namespace", lambda _twin, _machine: Path("/nowhere"))
        patch.setattr(vantage, "_has", lambda _namespace, _service: False)
        return probes(estate, places(estate), NOW)


@pytest.mark.usefixtures("anywhere")
def test_a_sample_shows_an_allowed_and_a_denied_packet_of_all_there_is(estate: Estate, every: list[Probe]) -> None:
    def shown(found: list[Probe]) -> set[tuple[object, ...]]:
        ends = {
            (end, one.allowed_by is None) for one in found for end in (zone(one.source.place), zone(one.target.place))
        }
        kinds = {
            (kind, one.family, one.allowed_by is None) for one in found for kind in (one.target.service, one.protocol)
        }
        return ends | kinds

    def zone(place: str) -> object:
        at = estate.places.get(place)
        return at and (at.zone or at.partner or at.external)

    sample = probes(estate, places(estate), NOW, sample=True)
    assert shown(sample) == shown(every)
    assert set(sample) <= set(every)
    assert len(sample) <= 1000, "`qhs up` sends them all"


def test_every_zone_and_partner_has_an_allowed_and_a_denied_packet(estate: Estate, every: list[Probe]) -> None:
    found = {(place, one.allowed_by is None) for one in every for place in (one.source.place, one.target.place)}
    both = {place for place in estate.places if {(place, True), (place, False)} <= found}
    # The members of a pair speak to each other in no protocol that is sent here, and the House has no bastion; nobody
    # is in the network of the State bodies but they, each in a place of its own.
    assert set(estate.places) - both == {"qhdc.sync", "ndc.sync", "hall.sync", "hall.mgmt-ports", "tslcd"}


def test_every_cell_of_a_proof_has_a_packet_or_no_place(
    estate: Estate, known: Facts, every: list[Probe], paper: Proof
) -> None:
    """Pods have addresses that no stand can take; packets come to them, and from them, in the tests of nodes."""
    probed = {one.cell for one in every}
    asked = {Cell(one.source, one.destination, one.service, one.family) for one in paper.cells if one.kind in KINDS}
    of_pods = {name for name, one in estate.catalogue.services.items() if one.on == "pods"}
    without = {one for one in asked - probed if one.service not in of_pods}
    assert {one for one in probed - asked if ":" not in one.destination} == set(), "a packet that no cell answers"
    assert len(without) < len(asked) / 50
    assert {known.areas[one.source].network == known.areas[one.destination].network for one in without} == {True}


@pytest.fixture(scope="module")
def paper(judged: Judge) -> Proof:
    return decided(judged)


@pytest.fixture(scope="module")
def told(judged: Judge, paper: Proof) -> Tell:
    return lambda results: [str(one) for one in disagreements(judged, paper, results)]


@pytest.fixture(scope="module")
def judged(known: Facts, rules: str) -> Judge:
    return judge(known, json.loads(rules), NOW)


def test_what_the_catalogue_wants_of_packets_is_what_paper_says(every: list[Probe], told: Tell) -> None:
    """T-F04, as far as it goes without packets: firewalls themselves and partners within the Internet included."""
    wanted = [Result(one, Fate.OPEN if one.allowed_by else Fate.DROP) for one in every]
    assert told(wanted) == []


@pytest.mark.parametrize(
    ("asked", "fate", "line"),
    [
        (("qhdc.app", "qhdc.data", "postgres"), Fate.DROP, "passes: qhdc-fw1 app to data: app-to-postgres; "),
        (("qhdc.gpu", "qhdc.signing", "signer"), Fate.OPEN, "is stopped: qhdc-fw1 gpu to signing: policy drop"),
        (("qhdc.data", "qhdc-fw1:data", FIREWALL), Fate.OPEN, "is stopped: qhdc-fw1 data to itself: policy drop"),
    ],
)
def test_a_disagreement_names_the_packet_and_the_rule(
    every: list[Probe], told: Tell, asked: tuple[str, str, str], fate: Fate, line: str
) -> None:
    one = next(it for it in every if (it.source.place, it.target.place, it.target.service) == asked)
    (found,) = told([Result(one, fate)])
    assert f"on paper it {line}" in found
    assert f"{one.address} {one.packet}" in found


def test_an_echo_is_sent_between_all_places(estate: Estate, every: list[Probe]) -> None:
    echoed = {(one.source.place, one.target.place, one.family) for one in every if one.protocol == "icmp"}
    tried = {(one.source.place, one.target.place, one.family) for one in every if one.target.service == REST}
    assert tried <= echoed
    used = {port for service in estate.catalogue.services.values() for port in service.ports}
    assert not {f"{one.protocol}/{one.port}" for one in every if one.target.service == REST} & used


def test_nobody_asks_itself(every: list[Probe]) -> None:
    """Loopback is no wire."""
    assert [one for one in every if one.source.name == one.holder.name or one.address in one.source.addresses] == []


def test_a_packet_that_no_rule_stopped_is_not_as_wanted(every: list[Probe]) -> None:
    """From a place with a gateway, the want of a route or of a wire says nothing about rules."""
    allowed = next(one for one in every if one.allowed_by)
    denied = next(one for one in every if one.source.name == "voter" and not one.allowed_by)
    unrouted = next(one for one in every if one.source.place == "qhdc.mgmt-ports" and not one.allowed_by)
    firewall = next(one for one in every if one.is_for_firewall and one.source.name == "voter" and not one.allowed_by)
    asked = (allowed, denied, unrouted, firewall)
    wanted = {one: {fate for fate in Fate if Result(one, fate).as_wanted} for one in asked}
    assert wanted == {
        firewall: {Fate.DROP},  # nothing that it lets in may be told by the refusal of a port that is closed
        allowed: {Fate.OPEN},
        denied: {Fate.DROP, Fate.REJECT},
        unrouted: {Fate.DROP, Fate.REJECT, Fate.NO_ROUTE},
    }


def test_every_place_of_the_twin_has_a_neighbour_to_ask_first(estate: Estate, every: list[Probe]) -> None:
    asked = {(one.source.name, one.neighbour) for one in every}
    assert {one for one in asked if one[0] in ("voter", "axis", "official")} == {
        *(("voter", gateway) for gateway in ("198.18.0.17", "198.18.0.33", "198.18.0.49")),
        *(("voter", gateway) for gateway in ("2001:db8:18::11", "2001:db8:18::21", "2001:db8:18::31")),
        *(("axis", gateway) for gateway in ("10.200.0.17", "10.200.0.33")),
        *(("axis", gateway) for gateway in ("fd51:c8::11", "fd51:c8::21")),
        ("voter", None),  # to what is outside as well no site lies on its way
        ("axis", None),  # nor does the specialised network have a leg at the House
        ("official", "10.16.176.1"),
        ("official", "fd51:1:0:b::1"),
    }
    firewalls = {one.source.place for one in every if one.neighbour is None and one.source.kind == "machine"}
    assert {place.rpartition(".")[2] for place in firewalls} == {"secret"}, "all others have somebody to ask"


def test_only_where_nothing_leads_the_want_of_a_route_is_a_rule(estate: Estate, every: list[Probe]) -> None:
    """The enclave, networks that the House has no leg in, the wire between the sites for clients, management ports."""
    unrouted = {(one.source.place, one.target.place) for one in every if not one.routed}
    told = {"qhdc.secret", "tslcd", "branch", "dci", *(f"{site}.mgmt-ports" for site in estate.active_sites)}

    def leads(pair: tuple[str, str]) -> bool:
        ends = {name for place in pair for name in (place, place.partition(".")[0])}
        return not ends & told

    assert [pair for pair in unrouted if leads(pair) and "internet" not in pair] == []
    assert ("qhdc.app", "qhdc.data") not in unrouted


HERE = Path("/proc/self/ns/net")
# Where a suite runs as root, none of its tests may be skipped.
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may move between namespaces")


@AS_ROOT
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_service_that_says_nothing_is_open_by_its_handshake(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as silent:
        order = Order(HERE, "tcp", address, address, silent.getsockname()[1], ours=False)
        assert fly([order]) == [Fate.OPEN]
        assert fly([replace(order, ours=True)]) == [Fate.DROP], "our own listener greets"
    assert fly([order]) == [Fate.REJECT]


@AS_ROOT
def test_fates_are_told_apart_among_many() -> None:
    """Each keeps its own, however many are in flight."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as closed:
        port, refused = server.getsockname()[1], closed.getsockname()[1]
        closed.close()
        greeter = threading.Thread(target=lambda: [server.accept()[0].sendall(GREETING) for _ in range(50)])
        greeter.start()
        kinds = [
            (Order(HERE, "tcp", "127.0.0.1", "127.0.0.1", port), Fate.OPEN),
            (Order(HERE, "tcp", "127.0.0.1", "127.0.0.1", refused), Fate.REJECT),
            (Order(HERE, "udp", "127.0.0.1", "127.0.0.1", refused), Fate.REJECT),
            (Order(HERE, "icmp", "127.0.0.1", "127.0.0.1"), Fate.OPEN),
            (Order(HERE, "icmp", "::1", "::1"), Fate.OPEN),
            (Order(HERE, "tcp", "192.0.2.1", "127.0.0.1", port), Fate.NO_WIRE),
        ]
        assert fly([order for order, _ in kinds] * 50) == [fate for _, fate in kinds] * 50
        greeter.join()


def test_of_a_service_that_everyone_has_one_of_each_place_is_probed(estate: Estate, every: list[Probe]) -> None:
    found = {one.holder: one for one in every if one.target.service == "metrics"}
    inhabited = {
        port.place for one in estate.machines.values() for port in one.interfaces if "firewall" not in one.roles
    }
    zones = estate.catalogue.services["metrics"].places
    assert sorted(one.place for one in found) == sorted(one.name for one in estate.named(*zones))
    assert all(probe.address in holder.addresses for holder, probe in found.items())
    assert all((holder.kind == "machine") == (holder.place in inhabited) for holder in found)
