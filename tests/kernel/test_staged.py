"""T-F14: a staged flow still lets pass what it will block, and the kernel's log names the flow and the packet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stacks.model.rules import Rule
from stacks.provider.ruleset.nft import Flow, render
from tests.kernel.place import Place
from tests.kernel.street import Leg, Pair, Street
from tests.twin.waiting import await_

LEFT = Leg(Pair("10.1.0.1", "fd01::1"), Pair("10.1.0.2", "fd01::2"))
RIGHT = Leg(Pair("10.2.0.1", "fd02::1"), Pair("10.2.0.2", "fd02::2"))
GUARDS = [
    ("neighbours", Rule(chain, protocol="icmpv6", icmp_types=("nd-neighbor-solicit", "nd-neighbor-advert")))
    for chain in ("input", "output")
] + [("tracked", Rule("forward", states=("established",)))]
# A namespace logs nothing unless its host says so; a machine of its own always does.
EVERYONE_LOGS = Path("/proc/sys/net/netfilter/nf_log_all_netns")


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    place = Place(tmp_path, 30)
    here = Street(place, {"left": LEFT, "right": RIGHT})
    was = EVERYONE_LOGS.read_text()
    EVERYONE_LOGS.write_text("1")
    yield here
    EVERYONE_LOGS.write_text(was)
    here.end()
    place.end()


@contextmanager
def log() -> Iterator[list[str]]:
    """The lines that the kernel logs of staged flows meanwhile."""
    found: list[str] = []
    stream = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(stream, 0, os.SEEK_END)
    yield found
    try:
        while line := os.read(stream, 8192).decode():
            found += [line] if "qhs-staged:" in line else []
    except BlockingIOError:
        os.close(stream)


def flow(port: int, *, staged: bool) -> Flow:
    to = (RIGHT.end.ipv4, RIGHT.end.ipv6)
    families = zip(("ip", "ip6"), to, strict=True)
    return Flow(
        tuple(
            Rule(
                "forward",
                iif="left",
                oif="right",
                family=family,
                destinations=(one,),
                protocol="tcp",
                ports=(str(port),),
            )
            for family, one in families
        ),
        staged=staged,
    )


def test_what_a_staged_flow_lets_pass_is_logged_and_nothing_else(street: Street) -> None:
    street.place.keep(render(GUARDS, {"old-way": flow(81, staged=True), "way": flow(80, staged=False)}))
    server = street.talk("right", listen=[("tcp", address, port) for address in RIGHT.end for port in (80, 81)])
    with log() as lines:
        ways = [("tcp", address, port, 1) for address in RIGHT.end for port in (80, 81)]
        street.talk("left", connect=ways)
        await_(lambda: street.told(server)["alive"] == len(ways))
    assert len(lines) == len(RIGHT.end), lines  # a conversation each, not a packet
    for address, line in zip((LEFT.end.ipv4, "fd01:0000:0000:0000:0000:0000:0000:0002"), lines, strict=True):
        assert "qhs-staged:old-way IN=left OUT=right" in line
        assert f"SRC={address} " in line
        assert "DPT=81 " in line
