"""What a machine's chronyd thinks of the time servers."""

from __future__ import annotations

import csv

from stacks.model import load
from tests.twin.hosts import Hosts

SERVERS = {
    str(one.targets[0].ipv4.network_address): name
    for name, machine in load("twin").machines.items()
    for one in machine.services
    if one.service == "time"
}
"""Time servers by their address."""


def marks(hosts: Hosts, machine: str) -> dict[str, str]:
    """Of each time server: `*` and `+` it follows, `x` is wrong."""
    said = hosts.say("chronyc burst 1/1 >&2; chronyc -n -c sources", [machine])[machine]
    rows = csv.reader(said.splitlines())
    return {SERVERS[row[2]]: row[1] for row in rows}


def following(hosts: Hosts, machine: str) -> set[str]:
    """Those that it takes into account."""
    return {name for name, mark in marks(hosts, machine).items() if mark in "*+"}
