"""The devices of a running twin, as the plugin's own client reaches them."""

from __future__ import annotations

from typing import Any

from qhs import ruleset_access
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.provider.carried import Carried
from stacks.provider.signing.device import TALK, USER, Device, DeviceError

__all__ = ["DeviceError", "ask"]


def ask(twin: Twin, machine: str, verb: str, **given: str) -> dict[str, Any]:
    """What the device on a machine answers. Raises DeviceError."""
    carried = Carried.talking(ruleset_access.write(twin), USER, machine, TALK, inside.command(twin, []))
    try:
        return Device(machine, lambda: carried).ask(verb, **given)
    finally:
        carried.close()
