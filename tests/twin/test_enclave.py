"""The state-secret enclave beside the whole estate: nobody reaches it, and it reaches nobody (S-055, C-SEC-01)."""

from __future__ import annotations

from typing import Any

import pytest

from qhs.layout import topology
from qhs.twin import wires
from qhs.twin.names import Twin
from stacks.model import load
from tests.twin import reach

pytestmark = pytest.mark.live


def test_no_address_of_the_enclave_answers_anybody_nor_anybody_the_enclave(twin: Twin, second_up: Any) -> None:
    whole = topology(load("twin"))
    assert reach.within(twin, whole), "its own machines talk to each other, or this proves nothing"
    assert reach.into(twin, whole) == []
    assert reach.out_of(twin, whole) == []


def test_its_bridge_holds_its_own_ports_and_no_address(twin: Twin, second_up: Any) -> None:
    isles = [machine.name for machine in topology(load("twin")).machines if machine.island]
    on_it = {it.alias.partition(":")[0] for it in wires.ports(twin).values() if it.bridge == "1-secret"}
    assert on_it == set(isles)
    bridge = next(link for link in wires.links(twin) if link["ifname"] == "1-secret")
    assert bridge["addr_info"] == []
