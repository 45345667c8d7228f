"""Whether the wire of a place works at all: without that, a packet that got nowhere says nothing about any rule."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable

from qhs.net.probe.vantage import Vantage

TIMEOUT = 2.0
"""Seconds after which a neighbour is silent: the kernel asks three times, a second apart."""


def silent(vantage: Vantage, addresses: Iterable[str]) -> frozenset[str]:
    """Ask anew who on the wire of `vantage` has each of these addresses, and return those that nobody claims.

    It needs no rule: ARP passes none, its like of IPv6 all.
    """
    asked = frozenset(addresses)
    return vantage.inside(lambda: _silent(vantage.port, asked)) if asked else asked


def _silent(port: str, asked: frozenset[str]) -> frozenset[str]:
    lines = "".join(f"neigh flush to {one} dev {port}\nneigh replace {one} dev {port} use\n" for one in asked)
    done = subprocess.run(["ip", "-batch", "-"], input=lines, text=True, capture_output=True, check=False)
    until = time.monotonic() + TIMEOUT
    while done.returncode == 0 and time.monotonic() < until:
        left = asked - _known(port)
        if not left:
            return left
        time.sleep(0.02)
    return asked - _known(port)  # refused: there is no such port, or it is down


def _known(port: str) -> frozenset[str]:
    shown = subprocess.run(["ip", "-j", "neigh", "show", "dev", port], capture_output=True, text=True, check=False)
    found: list[dict[str, str]] = json.loads(shown.stdout or "[]")
    return frozenset(entry["dst"] for entry in found if "lladdr" in entry)
