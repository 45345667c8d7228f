"""Every machine keeps the time of the sites' time servers."""

from __future__ import annotations

import csv

import pytest

from qhs.inventory import nearest
from stacks.model import load
from tests.twin.hosts import Hosts

pytestmark = pytest.mark.live

FURTHEST = 0.1  # seconds, C-TIME-01
# A server that follows its own clock never counts as synchronised for `chronyc waitsync`.
REACHED = (
    "for _ in $(seq 60); do chronyc -c sources | awk -F, '$6 > 0' | grep -c . | grep -q '[2-9]' && break; sleep 1; done"
)


def test_every_machine_follows_two_time_servers_of_two_sites(hosts: Hosts) -> None:
    """C-TIME-01: they answer, and are less than 100 ms away."""
    estate = load("twin")
    servers = set(nearest(estate, "qhdc", "time"))
    wrong = {}
    for name, said in hosts.say(f"{REACHED}; chronyc -n -c sources").items():
        rows = list(csv.reader(said.splitlines()))
        near = {row[2] for row in rows if int(row[5], 8) and int(row[3]) and abs(float(row[7])) < FURTHEST}
        if len(near & servers) < 2 or {row[2] for row in rows} - servers:
            wrong[name] = rows
    assert wrong == {}


def test_every_machine_knows_its_offset_and_it_is_small(hosts: Hosts) -> None:
    """Stratum 16 and no reference is how chronyd says that it follows nobody."""
    wrong = {}
    for name, said in hosts.say(f"{REACHED}; chronyc -n -c tracking").items():
        (row,) = csv.reader([said])
        if not 0 < int(row[2]) < 16 or abs(float(row[4])) >= FURTHEST or row[13] != "Normal":
            wrong[name] = row
    assert wrong == {}


def test_no_machine_steers_the_clock_that_all_share(hosts: Hosts) -> None:
    """The limit `no-steering`: no process of a machine may, so that a wrong source moves nobody's clock."""
    rights = hosts.say("grep CapBnd /proc/1/status; pgrep --full --count 'chronyd .*-x'")
    for name, said in rights.items():
        bounding, _, running = said.partition("\n")
        assert not int(bounding.split()[1], 16) >> 25 & 1, name  # CAP_SYS_TIME
        assert int(running) >= 1, name
