"""The networks of a bubble: one a segment, a router between them, and a single wire to the machine that they are on.

They have no names: each is there for as long as the program that made it has it open, so nothing of them outlives that
program, whatever it ends by. What comes from the bubble to the machine is counted there, and dropped.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

WIRE = "qhs-bubble"
"""The machine's end of the one that leads into the bubble."""
OUTSIDE, DATA = "outside", "data"
TABLE, COUNTER = "inet qhs_bubble", "from_bubble"
"""On the machine: how many packets have come from the bubble."""
INNER, REFUSED = "inet bubble", "refused"
"""On the router: how many it has not passed on, or were for itself."""
DATABASES, OBJECTS = 5432, 443
DISCARD = 9
"""The port of the one packet that shows that the machine counts."""
COUNTED = 5
"""Seconds in which it must have been counted."""
BORDER = """
table inet qhs_bubble {{
  counter from_bubble {{ }}
  chain arriving {{
    type filter hook prerouting priority -400; policy accept;
    {count}
  }}
  chain leaving {{
    type filter hook output priority -400; policy accept;
    oifname "qhs-bubble" drop
  }}
  chain passing {{
    type filter hook forward priority -400; policy accept;
    oifname "qhs-bubble" drop
  }}
}}
"""
COUNT = 'iifname "qhs-bubble" counter name from_bubble drop'
ROUTER = """
table inet bubble {{
  counter refused {{ }}
  chain passing {{
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    {flow}
    counter name refused drop
  }}
  chain own {{
    type filter hook input priority 0; policy drop;
    counter name refused drop
  }}
}}
"""
FLOW = 'iifname . ip saddr {{ {sources} }} oifname "data" ip daddr {data} tcp dport {{ {ports} }} accept'
SILENT = "add chain inet bubble leaving { type filter hook output priority 0; policy drop; }"
"""The router says nothing by itself."""


class NetworkError(Exception):
    """It is not as it should be, and why."""


@dataclass(frozen=True)
class Segment:
    """A network with one address, and the router's beside it."""

    name: str
    address: str
    gateway: str
    handle: int
    """By which this program has it open."""

    def command(self, *command: str) -> list[str]:
        """What runs a command there."""
        return ["nsenter", f"--net={path(self.handle)}", "--", *command]


@dataclass(frozen=True)
class Bubble:
    """What is in it."""

    router: int
    data: Segment
    tenants: Mapping[str, Segment]


def made(network: str, tenants: list[str]) -> Bubble:
    """All of it, closed to everything but what tenants ask of the data. Raises NetworkError."""
    ranges = IPv4Network(network).subnets(new_prefix=30)
    here, beyond = (str(one) for one in next(ranges).hosts())
    router = _alone()
    apart(router, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
    _wire(router, OUTSIDE, beyond, f"/proc/{os.getpid()}/ns/net", WIRE)
    _ip("address", "add", f"{here}/30", "dev", WIRE)
    _nft(None, BORDER.format(count=COUNT))
    _ip("link", "set", WIRE, "up")
    _ip("route", "add", "default", "via", here, inside=router)
    data = _segment(router, DATA, DATA, *next(ranges).hosts())
    # Nobody there is root.
    apart(data.handle, lambda: Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text(str(OBJECTS)))
    found = {
        name: _segment(router, name, f"tenant{number}", *next(ranges).hosts()) for number, name in enumerate(tenants, 1)
    }
    _nft(router, ruleset(data, list(found.values())))
    return Bubble(router, data, found)


def ruleset(data: Segment, tenants: list[Segment]) -> str:
    """Of the router: tenants come to the data, each from its own segment by its own address; nobody to anybody else."""
    sources = ", ".join(f'"tenant{number}" . {one.address}' for number, one in enumerate(tenants, 1))
    return ROUTER.format(flow=FLOW.format(sources=sources, data=data.address, ports=f"{DATABASES}, {OBJECTS}"))


def prove(bubble: Bubble, address: str) -> int:
    """How many packets the machine has counted of the one that the router sends to its address; then it counts from 0.

    From then on the router sends none by itself. Raises NetworkError where none was counted.
    """

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"", (address, DISCARD))

    apart(bubble.router, send)
    end = time.monotonic() + COUNTED
    while not (found := counted()):
        if time.monotonic() > end:
            raise NetworkError(
                f"found no packet counted of the one that the bubble sent to {address}; wanted one: a counter that "
                "does not count shows nothing"
            )
        time.sleep(0.1)
    _nft(bubble.router, SILENT)
    _nft(None, f"reset counter {TABLE} {COUNTER}")
    return found


def counted() -> int:
    """Packets that have come from the bubble to the machine. Raises NetworkError."""
    return _packets(None, f"{TABLE} {COUNTER}")


def refused(bubble: Bubble) -> int:
    """Packets that the router has kept back. Raises NetworkError."""
    return _packets(bubble.router, f"{INNER} {REFUSED}")


def clear() -> None:
    """Take away from the machine what the program that made it did not, as it was killed."""
    # It goes with the networks, a moment after whoever had them open.
    subprocess.run(["ip", "link", "delete", WIRE], capture_output=True, check=False)
    _nft(None, f"table {TABLE}\ndelete table {TABLE}")


def path(handle: int) -> str:
    """Where another program finds a network that this one has open."""
    return f"/proc/{os.getpid()}/fd/{handle}"


def apart[T](network: int | None, do: Callable[[], T]) -> T:
    """In a thread that is in a network, or in a new one; this thread stays where it is."""

    def there() -> T:
        if network is None:
            os.unshare(os.CLONE_NEWNET)
        else:
            os.setns(network, os.CLONE_NEWNET)
        return do()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(there).result()


def _alone() -> int:
    """A new network without IPv6, whose kernels would say something of themselves to each other."""

    def there() -> int:
        for scope in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    found = apart(None, there)
    _ip("link", "set", "lo", "up", inside=found)
    return found


def _segment(router: int, name: str, wire: str, gateway: object, address: object) -> Segment:
    own = Segment(name, str(address), str(gateway), _alone())
    _wire(router, wire, own.gateway, path(own.handle), "eth0")
    _ip("address", "add", f"{own.address}/30", "dev", "eth0", inside=own.handle)
    _ip("link", "set", "eth0", "up", inside=own.handle)
    _ip("route", "add", "default", "via", own.gateway, inside=own.handle)
    return own


def _wire(router: int, name: str, address: str, there: str, other: str) -> None:
    """From the router to a network, with the router's address at its own end."""
    _ip("link", "add", name, "type", "veth", "peer", "name", other, "netns", there, inside=router)
    _ip("address", "add", f"{address}/30", "dev", name, inside=router)
    _ip("link", "set", name, "up", inside=router)


def _ip(*words: str, inside: int | None = None) -> None:
    _said(inside, "ip", *words)


def _nft(inside: int | None, text: str) -> None:
    _said(inside, "nft", "-f", "-", text=text)


def _packets(inside: int | None, counter: str) -> int:
    told = json.loads(_said(inside, "nft", "-j", "list", "counter", *counter.split()))
    (found,) = [one["counter"]["packets"] for one in told["nftables"] if "counter" in one]
    return int(found)


def _said(inside: int | None, *command: str, text: str = "") -> str:
    enter = [] if inside is None else ["nsenter", f"--net={path(inside)}", "--"]
    done = subprocess.run([*enter, *command], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NetworkError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout
