"""What the last `up` made the twin: kept, so that one machine can be started without the estate being read again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from qhs import whole
from qhs.errors import UserError
from qhs.image import Image
from qhs.twin import boot
from qhs.twin.names import Twin
from qhs.twin.topology import Machine, Topology

State = Literal["running", "paused", "orphaned", "off"]
"""orphaned: its init lives, its systemd-nspawn does not."""


@dataclass(frozen=True)
class Standing:
    """Which machines there are to be, on which wires, over which image."""

    image: Image
    topology: Topology

    def save(self, twin: Twin) -> None:
        told = {"key": self.image.key, "path": str(self.image.path), "topology": self.topology.model_dump(mode="json")}
        whole.write(twin.standing, json.dumps(told), mode=0o600)  # machines' first files are in it

    @classmethod
    def load(cls, twin: Twin) -> Self:
        """Raises UserError where the twin is not up."""
        try:
            told = json.loads(twin.standing.read_text())
        except FileNotFoundError:
            raise UserError(f"twin {twin.name} is not up", "qhs up") from None
        image = Image(Path(told["path"]), told["key"], "cached", 0.0)
        return cls(image, Topology.model_validate(told["topology"]))

    def machine(self, name: str) -> Machine:
        return next(machine for machine in self.topology.machines if machine.name == name)


def state(twin: Twin, name: str) -> State:
    """What the kernel shows of a machine."""
    own = boot.group(twin, name)
    if not own.exists() or own.init() is None:
        return "off"
    if own.frozen():
        return "paused"
    return "running" if own.supervised() else "orphaned"
