"""A firewall pair survives: connections outlive either member, and a member that returns has its peer's ruleset first.

Tests are in the order of one story, and leave the pair as they found it.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from qhs import ruleset_access
from qhs.layout import topology
from qhs.twin import boot, inside, lifecycle, outage
from qhs.twin.names import Twin
from stacks.model import load
from stacks.provider.ruleset.client import Client, digest
from tests.twin.conftest import WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.pairs import STATE, cut_off, holder
from tests.twin.streams import Streams, in_machine
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
SITE = "ndc"
PAIR = ESTATE.firewalls(SITE)
CLIENT, SERVER = f"{SITE}-app1", f"{SITE}-db1"
DATABASE = next(one for one in ESTATE.machines[SERVER].services if one.service == "ballot-db")
EACH = 100  # streams in a family
LONGEST = 3  # seconds that a stream may wait on a quiet machine
INSIDE = "inside a site"
HELD_UP = 2  # seconds in which a member hears nothing of the other, so that it takes the gateways
CONFIRMED = "sha256sum /etc/qhs/ruleset.nft"
# In the order in which a boot must end them; a unit that is running has ended its start.
ORDER = ("qhs-ruleset.service", "qhs-pair.service", "keepalived.service")


@pytest.fixture
def streams(twin: Twin, second_up: WatchedUp) -> Iterator[Streams]:
    """From one segment of the site to another, in both families."""
    with opened(twin) as found:
        yield found


def opened(twin: Twin) -> Streams:
    addresses = [(address, 5432) for address in DATABASE.targets[0].texts()]
    return Streams(in_machine(twin, CLIENT), in_machine(twin, SERVER), addresses, EACH)


@pytest.fixture
def confirmed(hosts: Hosts, twin: Twin, second_up: WatchedUp) -> Iterator[str]:
    """The ruleset of the pair, which it has again at the end."""
    text = hosts.say("cat /etc/qhs/ruleset.nft", PAIR[:1])[PAIR[0]] + "\n"
    yield text
    write(twin, PAIR, text)


def write(twin: Twin, members: tuple[str, ...], text: str) -> None:
    """As the plugin does."""
    client = Client(ruleset_access.write(twin))
    inside.call(twin.netns_path(), lambda: client.write(members, text))


def test_streams_outlive_both_members_and_who_returns_has_what_was_written_meanwhile(
    hosts: Hosts, twin: Twin, streams: Streams, confirmed: str
) -> None:
    first, second = holder(hosts, PAIR)
    cut_off(twin, streams, first, LONGEST, INSIDE)
    # What a degraded site allows: the one that is there gets a ruleset without a flow.
    less = "\n".join(line for line in confirmed.split("\n") if '"app-to-objects"' not in line)
    assert less != confirmed
    write(twin, (second,), less)
    outage.power_on(twin, first)
    await_(lambda: hosts.say(STATE, [first])[first] == "backup")
    assert hosts.say(CONFIRMED, [first])[first].split()[0] == digest(less)
    assert "app-to-objects" not in hosts.say("nft list table inet qhs", [first])[first]
    assert hosts.say(STATE, [second])[second] == "primary", "the gateways moved back, which costs a pause for nothing"
    show = f"systemctl show --value --property=ActiveEnterTimestampMonotonic {' '.join(ORDER)}"
    entered = [int(word) for word in hosts.say(show, [first])[first].split()]
    assert all(one < other for one, other in pairwise(entered)), dict(zip(ORDER, entered, strict=True))
    cut_off(twin, streams, second, LONGEST, INSIDE)
    outage.power_on(twin, second)
    assert holder(hosts, PAIR) == (first, second)


def test_a_holder_that_is_held_up_for_a_moment_ends_no_stream(hosts: Hosts, twin: Twin, second_up: WatchedUp) -> None:
    """Until it goes on both members have the gateways; the one with the higher address keeps them, and saw half."""
    other, keeps = PAIR
    if holder(hosts, PAIR)[0] == other:
        hold_up(hosts, other)
    assert holder(hosts, PAIR)[0] == keeps
    with opened(twin) as streams:
        hold_up(hosts, keeps)
        assert holder(hosts, PAIR)[0] == keeps
        since = time.monotonic()
        await_(lambda: streams.broken != [] or streams.all_heard_since(since))
        assert streams.broken == []


def hold_up(hosts: Hosts, member: str) -> None:
    hosts.say(f"pkill --signal STOP keepalived; sleep {HELD_UP}; pkill --signal CONT keepalived", [member])
    time.sleep(HELD_UP)  # until both have agreed again


def test_two_members_that_return_at_once_never_stand_open(hosts: Hosts, twin: Twin, second_up: WatchedUp) -> None:
    for member in PAIR:
        outage.power_off(twin, member)
    with watched(twin) as seen:
        lifecycle.up(topology(ESTATE), twin=twin)
        holder(hosts, PAIR)
    assert {member for member, _ in seen} == set(PAIR)
    assert [one for one in seen if one[1].count("policy drop") != len(("input", "forward", "output"))] == []
    assert len(set(hosts.say(CONFIRMED, PAIR).values())) == 1
    with Streams(in_machine(twin, CLIENT), in_machine(twin, SERVER), [(DATABASE.targets[0].texts()[0], 5432)], 1):
        pass


@contextlib.contextmanager
def watched(twin: Twin) -> Iterator[list[tuple[str, str]]]:
    """The tables of the members, from as soon as each has an address and for as long as the block runs."""
    seen: list[tuple[str, str]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            for member in PAIR:
                init = boot.group(twin, member).init()
                if init and "inet " in said(init, "ip", "address", "show", "dev", "sync"):
                    seen.append((member, said(init, "nft", "list", "table", "inet", "qhs")))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()


def said(init: int, *command: str) -> str:
    """What a program of this machine shows of the network of another."""
    inside_it = ["nsenter", f"--net=/proc/{init}/ns/net", *command]
    return subprocess.run(inside_it, capture_output=True, text=True, check=False).stdout
