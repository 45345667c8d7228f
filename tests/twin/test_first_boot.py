"""T-F13: from its first packet on, before any role has run, a machine answers nobody but its managers."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qhs.layout import OPEN
from qhs.twin import access, inside, lifecycle, outage
from qhs.twin.names import Twin
from qhs.twin.topology import Client, Machine, Operator, Topology
from tests.twin.lab import alone_on_the_host, leg

pytestmark = pytest.mark.live

# One as the image makes it, one that was opened: who knocks would hear a machine that answers.
NUMBERS = {"new": 10, "open": 11}
TOPOLOGY = Topology(
    bridges=("mgmt", "right"),
    machines=tuple(
        Machine(
            name=name,
            site="lab",
            legs=(leg("mgmt-ports", "mgmt", 0, number, isolated=True), leg("eth0", "right", 2, number)),
            files=OPEN if name == "open" else {},
        )
        for name, number in NUMBERS.items()
    ),
    clients=(Client(name="near", legs=(leg("eth0", "right", 2, 20),)),),
    operators=(Operator(bridge="mgmt", addresses=("10.77.0.1/24", "fd77:0::1/64")),),
)
SETTLED = 3  # seconds until whoever knocked in vain looks for a neighbour again
# Fifty times a second and address; both an open port and a closed one are answers.
KNOCK = """
import json, select, socket, sys, time
answers = dict.fromkeys(sys.argv[1:], 0)
knocks, waiting = 0, {}
while not select.select([sys.stdin], [], [], 0.02)[0]:
    for address in answers:
        one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        one.setblocking(False)
        one.connect_ex((address, 22))
        waiting[one] = address, time.monotonic()
        knocks += 1
    for one in select.select([], list(waiting), [], 0)[1]:
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, 111):
            answers[waiting[one][0]] += 1
        del waiting[one]
        one.close()
    for one in [one for one, (_, since) in waiting.items() if time.monotonic() - since > 1]:
        del waiting[one]
        one.close()
print(json.dumps({"knocks": knocks, "answers": answers}))
"""


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    with alone_on_the_host(tmp_path) as mine:
        lifecycle.up(TOPOLOGY)
        yield mine


def managed(twin: Twin, name: str) -> bool:
    return inside.run(twin, ["ssh", "-F", str(access.config(twin)), name, "true"]).returncode == 0


def test_whoever_knocks_while_a_machine_boots_is_not_answered(twin: Twin) -> None:
    addresses = {name: (f"10.77.2.{number}", f"fd77:2::{number}") for name, number in NUMBERS.items()}
    outage.power_off(twin, "lab")
    command = [sys.executable, "-c", KNOCK, *(one for own in addresses.values() for one in own)]
    with subprocess.Popen(
        inside.command(twin, command, "near"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as knocking:
        outage.power_on(twin, "lab")
        time.sleep(SETTLED)
        told = json.loads(knocking.communicate("\n")[0])
    assert all(managed(twin, name) for name in NUMBERS)
    assert told["knocks"] > 100, told
    assert {name: [told["answers"][one] > 0 for one in own] for name, own in addresses.items()} == {
        "new": [False, False],
        "open": [True, True],
    }
