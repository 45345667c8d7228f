"""A topology that cannot be built is refused, with every fault named."""

from typing import Any

import pytest
from pydantic import ValidationError

from qhs.twin.topology import Client, Leg, Machine, Operator, Route, Topology

MANAGEMENT = Leg(interface="mgmt", bridge="mgmt", addresses=("10.0.0.2/24", "fd00::2/64"), isolated=True)
DATA = Leg(interface="data", bridge="data", addresses=("10.0.1.2/24",))
MACHINE = Machine(name="m", site="qhdc", legs=(MANAGEMENT, DATA))
ISLE = Leg(interface="isle", bridge="data", addresses=("10.0.1.3/24",))
ROUTED = Machine(
    name="i",
    site="qhdc",
    legs=(ISLE.model_copy(update={"bridge": "alone"}),),
    routes=(Route(destination="0.0.0.0/0", via="10.0.1.1"),),
    island=True,
)
OPERATOR = Operator(bridge="mgmt", addresses=("10.0.0.1/24",))


def topology(**changes: Any) -> Topology:
    good = {"bridges": ("mgmt", "data"), "machines": (MACHINE,), "operators": (OPERATOR,)}
    return Topology(**good | changes)


def client(**changes: Any) -> Client:
    return Client(name="c", legs=(Leg(interface="eth0", bridge="data", addresses=("10.0.1.9/24",)),), **changes)


def test_a_good_one_is_taken() -> None:
    assert topology(clients=(client(),)).management(MACHINE) == "10.0.0.2"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"bridges": ("mgmt",)}, "m: leg data is on undeclared bridge data"),
        ({"bridges": ("mgmt", "data", "data")}, "bridge data is there twice"),
        ({"bridges": ("mgmt", "data", "a-bridge-too-long")}, "at most 15 characters"),
        ({"machines": (MACHINE, MACHINE)}, "machine or client m is there twice"),
        (
            {"clients": (Client(name="c", legs=(DATA,)),)},
            "c:data: 10.0.1.2 on bridge data is already m:data's",
        ),
        ({"operators": (Operator(bridge="mgmt", addresses=("10.0.0.2/24",)),)}, "10.0.0.2 on bridge mgmt"),
        ({"operators": ()}, "m: no address on a bridge with an operator"),
        ({"operators": (OPERATOR, Operator(bridge="x", addresses=()))}, "operator is on undeclared bridge x"),
        (
            {"clients": (client(routes=(Route(destination="0.0.0.0/0", via="10.9.9.9"),)),)},
            "c: 0.0.0.0/0 goes via 10.9.9.9, which is on no leg's link",
        ),
        (
            {"machines": (MACHINE, Machine(name="i", site="qhdc", legs=(ISLE,), island=True))},
            "i: leg isle joins its island to bridge data",
        ),
        (
            {"machines": (MACHINE.model_copy(update={"island": True}),)},
            "m: leg mgmt joins its island to bridge mgmt",
        ),
        (
            {"bridges": ("alone",), "machines": (ROUTED,), "operators": ()},
            "i: a route to 0.0.0.0/0 leads off its island",
        ),
    ],
)
def test_a_bad_one_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as raised:
        topology(**changes)
    assert fault in str(raised.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as raised:
        topology(bridges=("mgmt",), operators=())
    assert "undeclared bridge data" in str(raised.value)
    assert "nobody could reach it" in str(raised.value)


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.300/24", "fd00::/129"])
def test_an_address_needs_its_prefix(address: str) -> None:
    with pytest.raises(ValidationError):
        Leg(interface="eth0", bridge="data", addresses=(address,))
