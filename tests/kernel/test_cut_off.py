"""T-F10: a ruleset that cuts off whoever manages a machine is undone by the machine itself."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.model.load import load
from stacks.model.rules import rulesets
from stacks.provider.ruleset.nft import render
from tests.kernel.place import PROGRAM, Place
from tests.kernel.street import Leg, Pair, Street
from tests.pace import Pace
from tests.twin.waiting import await_

ESTATE = load("twin")
MACHINE = next(one for one in rulesets(ESTATE, "qhdc") if one.target == "qhdc-db1")
WIRE = "mgmt-ports"
SECONDS = 3


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """The machine's management port, and whoever may manage it at the other end of its wire."""
    place = Place(tmp_path, SECONDS)
    (own,) = (one.address for one in ESTATE.machines[MACHINE.target].interfaces if one.name == WIRE)
    gate, end = (Pair(*(str(net[0]) for net in pair.both)) for pair in (own, ESTATE.operator("qhdc")))
    here = Street(place, {WIRE: Leg(gate, end)})
    yield here
    here.end()
    place.end()


def lets_in(street: Street, address: str) -> bool:
    """Whether a connection of its own gets to where sshd listens."""
    return street.run(WIRE, "timeout", "1", "bash", "-c", f"</dev/tcp/{address}/22").returncode == 0


def test_what_cuts_off_the_manager_is_undone_in_time_and_without_anybody(street: Street) -> None:
    place = street.place
    (own,) = (one.address for one in ESTATE.machines[MACHINE.target].interfaces if one.name == WIRE)
    addresses = [str(net[0]) for net in own.both]
    street.talk("", listen=[("tcp", address, 22) for address in addresses])
    place.keep(render(MACHINE.guards, MACHINE.flows))
    assert all(lets_in(street, address) for address in addresses)
    pace, began = Pace(), time.monotonic()
    place.apply(render([one for one in MACHINE.guards if one[0] != "management"], MACHINE.flows))
    assert not any(lets_in(street, address) for address in addresses)
    await_(lambda: all(lets_in(street, address) for address in addresses), 20)
    assert time.monotonic() - began < SECONDS + pace.limit(4)  # the attempts to get in wait as well
    assert "guard:management" in place.names()


def test_that_time_is_30_seconds_on_a_machine() -> None:
    found = re.search(r"^ROLLBACK, BUSY = (\d+), \d+  # seconds$", PROGRAM.read_text(), re.MULTILINE)
    assert found
    assert int(found[1]) <= 30
