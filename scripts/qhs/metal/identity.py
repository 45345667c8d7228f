"""What makes a machine of the image one of the estate at its first boot."""

from __future__ import annotations

from qhs import layout
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.metal import hardware
from qhs.metal.hardware import Hardware
from qhs.twin import render
from qhs.twin.topology import File
from stacks.model import Estate


def files(estate: Estate, name: str, cards: Hardware, operator_key: str, host_key: str) -> dict[str, File]:
    """The files by absolute path; the ports are those whose cards are known. Raises UserError."""
    if name not in estate.machines:
        raise UserError(f"{name} is no machine of {estate.inventory.environment}", "take one of its estate.yaml")
    machine = next(one for one in layout.topology(estate).machines if one.name == name)
    known = {leg.interface for leg in machine.legs}
    port = estate.machines[name].management.name
    if port not in cards.ports or not cards.ports.keys() <= known:
        what = f"{hardware.path()}: {name}: found cards for {', '.join(cards.ports) or 'no port'}"
        raise UserError(f"{what}; wanted {port}, and of others only {', '.join(sorted(known - {port}))}", "mend it")
    legs = tuple(leg for leg in machine.legs if leg.interface in cards.ports)
    here = machine.model_copy(update={"legs": legs})
    links = {
        f"/etc/systemd/network/10-{leg.interface}.link": File(content=link(leg.interface, cards.ports[leg.interface]))
        for leg in legs
    }
    return render.identity(Environment.PROD, here, operator_key, host_key) | links


def link(interface: str, card: str) -> str:
    """Name a card after the port that it is."""
    return f"[Match]\nPermanentMACAddress={card}\n\n[Link]\nName={interface}\n"
