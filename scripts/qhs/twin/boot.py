"""Start machines: a process in namespaces and control groups of its own, then wires, then systemd-nspawn."""

import os
import re
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from qhs.errors import UserError
from qhs.image import Image
from qhs.twin import cgroup, wires
from qhs.twin.cgroup import Group
from qhs.twin.names import MachinePaths, Twin
from qhs.twin.topology import Machine

PACKAGES = "/srv/qhs-packages/packages"
"""Where a machine that serves packages sees those of the image."""

CONTAINERS = "/var/lib/containerd"
"""Where a machine that runs containers keeps what they are made of."""

LOST_RIGHTS = ("CAP_SYS_RESOURCE", "CAP_SYS_TIME")
"""What no machine may do: raise limits that the host keeps, and steer the one clock that all share."""

_RIGHTS = (
    "--capability=all",
    f"--drop-capability={','.join(LOST_RIGHTS)}",
    "--system-call-filter=@known",
)


_COLOURS = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\[![a-z])")


@dataclass(frozen=True)
class Launch:
    """A machine whose process stands ready, still without wires."""

    machine: Machine
    process: "subprocess.Popen[bytes]"
    wake: int
    """The pipe that its process waits on; if we die, it ends with us."""

    def go(self) -> None:
        """Let it boot."""
        os.write(self.wake, b"\n")
        os.close(self.wake)


def group(twin: Twin, name: str) -> Group:
    return Group(twin.cgroup, name)


def groups(twin: Twin) -> list[str]:
    """The machines that have a control group, whatever else is left of them."""
    return sorted({path.name for top in cgroup.points() for path in (top / twin.cgroup).glob("*/")})


def power_off(twin: Twin, names: Iterable[str]) -> None:
    """End machines as a power cut does. Their mounts go with their last process; their disks stay."""
    names = set(names)
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda name: _end(group(twin, name)), names))
    if names and wires.namespaces(twin)[0]:
        wires.unplug(twin, names)


def _end(machine: Group) -> None:
    if machine.exists():
        machine.kill()
        machine.remove()


def launch(twin: Twin, machine: Machine, image: Image) -> Launch:
    """Start the machine's first process and return once its namespaces exist. Raises UserError."""
    paths = twin.machine(machine.name)
    own = group(twin, machine.name)
    own.create()
    ready, tell = os.pipe()
    wait, wake = os.pipe()
    script = _script(image.path, paths, tell)
    with paths.console.open("wb") as console:
        process = subprocess.Popen(
            [
                "unshare",
                "--net",
                "--mount",
                "--propagation=private",
                "--",
                "bash",
                "-euc",
                script,
                *_nspawn(machine, paths, image),
            ],
            stdin=wait,
            stdout=console,
            stderr=subprocess.STDOUT,
            pass_fds=(tell,),
            # A namespace that we bring along is not one that nspawn lets a machine set sysctls of by itself.
            env=os.environ | {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
            start_new_session=True,
        )
    own.join(process.pid)
    os.close(tell)
    os.close(wait)
    with os.fdopen(ready, "rb") as told:
        if not told.read(1):
            os.close(wake)
            raise UserError(f"{machine.name} did not start: {tail(paths)}", "see the console log above")
    return Launch(machine, process, wake)


def wire(twin: Twin, launches: list[Launch], marks: dict[str, str]) -> None:
    """Plug in all legs of all launched machines, in one batch."""
    lines = []
    for it in launches:
        lines += wires.plug(it.machine, str(it.process.pid), marks[it.machine.name])
    wires.ip(twin, lines)


def tail(paths: MachinePaths, lines: int = 20) -> str:
    """The last lines of a machine's console, to be shown below a message."""
    text = paths.console.read_text(errors="replace") if paths.console.is_file() else ""
    text = _COLOURS.sub("", text)
    last = [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
    return "".join(f"\n    {line}" for line in last) or "\n    (its console is empty)"


def _script(image: Path, paths: MachinePaths, tell: int) -> str:
    """What runs before nspawn, in the new namespaces: its mounts and names end with the machine."""
    layers = f"lowerdir={image},upperdir={paths.upper},workdir={paths.work}"
    return f"""
{wires.QUIET}
# The copies of other namespaces' names that come with a mount namespace would keep them alive.
umount --recursive --lazy /run/netns
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t overlay -o {layers} overlay {paths.root}
echo >&{tell}
exec {tell}>&-
read -r go
exec "$0" "$@" </dev/null
"""


def _nspawn(machine: Machine, paths: MachinePaths, image: Image) -> list[str]:
    return [
        *("systemd-nspawn", "--quiet", "--boot", "--keep-unit", "--register=no", "--settings=no"),
        *(
            f"--machine={machine.name}",
            f"--directory={paths.root}",
            "--network-namespace-path=/proc/self/ns/net",
        ),
        *_RIGHTS,
        *((f"--bind-ro={image.packages}:{PACKAGES}",) if machine.packages else ()),
        # The agent of a node reads there what the kernel killed for want of memory.
        *((f"--bind={paths.containers}:{CONTAINERS}", "--bind=/dev/kmsg") if machine.containers else ()),
        *("--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=read-only"),
    ]
