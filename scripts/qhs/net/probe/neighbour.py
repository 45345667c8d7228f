"""Whether the wire of a place works at all: without that, a packet that got nowhere says nothing about any rule."""

from __future__ import annotations

import json
import subprocess
import time

from qhs.net.probe.vantage import Vantage

TIMEOUT = 2.0
"""Seconds after which a neighbour is silent: the kernel asks three times, a second apart."""


def answers(vantage: Vantage, address: str) -> bool:
    """Ask anew who on the wire of `vantage` has `address`. It needs no rule: ARP passes none, its like of IPv6 all."""
    return vantage.inside(lambda: _answers(vantage.port, address))


def _answers(port: str, address: str) -> bool:
    lines = f"neigh flush to {address} dev {port}\nneigh replace {address} dev {port} use\n"
    asked = subprocess.run(["ip", "-batch", "-"], input=lines, text=True, capture_output=True, check=False)
    until = time.monotonic() + TIMEOUT
    while asked.returncode == 0 and time.monotonic() < until:
        if any("lladdr" in entry for entry in _known(port, address)):
            return True
        time.sleep(0.02)
    return False  # refused: there is no such port, or it is down


def _known(port: str, address: str) -> list[dict[str, object]]:
    command = ["ip", "-j", "neigh", "show", "to", address, "dev", port]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[dict[str, object]] = json.loads(shown.stdout or "[]")
    return found
