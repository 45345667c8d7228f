"""Start machines of a twin that stands: disks, wires, power."""

import subprocess
from collections.abc import Sequence

from qhs.progress import Progress, silent
from qhs.twin import access, boot, disk, links
from qhs.twin.names import Twin
from qhs.twin.standing import Standing
from qhs.twin.topology import Machine

type Processes = "dict[str, subprocess.Popen[bytes]]"


def start(twin: Twin, standing: Standing, due: Sequence[Machine], progress: Progress = silent) -> Processes:
    """Start machines, ending first what is left of them; returns their processes, which boot. Raises UserError."""
    key = access.operator_public_key(twin)
    boot.power_off(twin, (machine.name for machine in due))
    for machine in due:
        disk.prepare(twin, machine, standing.image, key)
    access.write(twin, standing.topology)
    launches = []
    for machine in due:
        progress(f"{machine.name}: power on")
        launches.append(boot.launch(twin, machine, standing.image))
    boot.wire(twin, launches, {machine.name: disk.mark(machine, standing.image) for machine in due})
    links.apply(twin, standing.topology)
    for launch in launches:
        launch.go()
    return {launch.machine.name: launch.process for launch in launches}
