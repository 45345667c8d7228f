"""The power endpoint over loopback, asked by the client that asks real machines too."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from qhs import power
from qhs.errors import UserError
from qhs.power import Service
from qhs.twin import endpoint, redfish
from qhs.twin.names import Twin
from qhs.twin.topology import Leg, Machine, Operator, Topology


def _machine(name: str, site: str, number: int) -> Machine:
    legs = (
        Leg(interface="mgmt", bridge=f"mgmt-{site[0]}", addresses=(f"10.{number}.0.9/24",), isolated=True),
        Leg(interface="data", bridge="data", addresses=(f"10.9.0.{number}/24",)),
        Leg(interface="dci", bridge="dci", addresses=(f"10.8.0.{number}/24",)),
    )
    return Machine(name=name, site=site, legs=legs)


TOPOLOGY = Topology(
    bridges=("mgmt-n", "mgmt-s", "data", "dci", "isle"),
    machines=(
        _machine("a1", "north", 1),
        _machine("b1", "south", 2),
        Machine(name="x1", site="north", legs=(Leg(interface="eth0", bridge="isle"),), island=True),
    ),
    operators=(
        Operator(bridge="mgmt-n", addresses=("10.1.0.1/24",)),
        Operator(bridge="mgmt-s", addresses=("10.2.0.1/24",)),
    ),
    between=("dci",),
)


class Rack:
    """Machines as a dictionary. `stuck`: a switch that does nothing; `broken`: one that says so."""

    def __init__(self) -> None:
        self.on = {"a1": True, "stuck": True, "broken": True}
        self.asked: list[tuple[str, str]] = []

    def names(self) -> list[str]:
        return list(self.on)

    def powered(self, name: str) -> bool:
        return self.on[name]

    def reset(self, name: str, how: str) -> None:
        self.asked.append((name, how))
        if name == "broken":
            raise UserError("its processes survive", "dmesg")
        if name != "stuck":
            self.on[name] = how != "ForceOff"


@pytest.fixture
def rack() -> Rack:
    return Rack()


@pytest.fixture
def service(rack: Rack, tmp_path: Path) -> Iterator[Service]:
    """The endpoint's handler without its TLS, which the live suite proves."""
    (tmp_path / "password").write_text("right")
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), redfish.handler(partial(redfish.answer, rack), redfish.password_is("power", "right"))
    )
    threading.Thread(target=server.serve_forever).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    yield Service(url, "power", tmp_path / "password", tmp_path / "none")
    server.shutdown()
    server.server_close()


def test_power_is_switched_once_and_told(rack: Rack, service: Service) -> None:
    assert power.is_on(service, "a1")
    assert power.force(service, "a1", on=False)
    assert not power.is_on(service, "a1")
    assert not power.force(service, "a1", on=False)
    assert power.force(service, "a1", on=True)
    assert rack.asked == [("a1", "ForceOff"), ("a1", "On")]


def test_a_machine_that_stays_on_is_no_success(service: Service) -> None:
    with pytest.raises(UserError, match="stuck is On, not Off, after 0 s"):
        power.force(service, "stuck", on=False, within=0.3)
    with pytest.raises(UserError, match=r"power of broken: (.|\n)*survive"):
        power.force(service, "broken", on=False)


def test_an_unknown_machine_and_a_wrong_password_are_no_answer(rack: Rack, service: Service, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="power of moon"):
        power.is_on(service, "moon")
    (tmp_path / "password").write_text("wrong")
    with pytest.raises(UserError, match="power of a1"):
        power.force(service, "a1", on=False)
    assert rack.asked == []


@pytest.mark.parametrize("path", ["/redfish/v1/Systems", "/redfish/v1/Systems/a1", "/", "/redfish/v1/Systems/moon"])
def test_a_stranger_sees_the_root_alone(service: Service, path: str) -> None:
    assert requests.get(f"{service.url}/redfish/v1/", timeout=5).status_code == HTTPStatus.OK
    refused = requests.get(service.url + path, timeout=5)
    assert refused.status_code == HTTPStatus.UNAUTHORIZED
    assert refused.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"ResetType": "Nmi"}', b'{"ResetType": 1}', b"\xff"])
def test_a_reset_that_it_does_not_know_changes_nothing(rack: Rack, body: bytes) -> None:
    status, told = redfish.answer(rack, "POST", "/redfish/v1/Systems/a1/Actions/ComputerSystem.Reset", body)
    assert status == HTTPStatus.BAD_REQUEST
    assert "On, ForceOff, ForceRestart" in json.dumps(told)
    assert rack.asked == []


def test_more_than_a_request_is_refused(rack: Rack, service: Service) -> None:
    url = f"{service.url}/redfish/v1/Systems/a1/Actions/ComputerSystem.Reset"
    sent = requests.post(url, data=b" " * 5000, auth=("power", "right"), timeout=5)
    assert sent.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert rack.asked == []


def test_a_machine_is_switched_at_its_own_sites_operator() -> None:
    twin = Twin("unit")
    north, south, isle = TOPOLOGY.machines
    assert endpoint.service(twin, TOPOLOGY, north).url == "https://10.1.0.1:443"
    assert endpoint.service(twin, TOPOLOGY, south).url == "https://10.2.0.1:443"
    with pytest.raises(UserError, match="x1 has no management port"):
        endpoint.service(twin, TOPOLOGY, isle)
