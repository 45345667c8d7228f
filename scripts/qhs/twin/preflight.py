"""Whether this host can carry a twin: facts first, then one clear message for each thing that is missing."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from qhs import folders
from qhs.errors import UserError
from qhs.twin.names import Twin

MACHINE_MEMORY = 170 * 1024**2
"""Bytes for a machine with its roles at work, over all of them; one just booted holds a sixth of that."""
SPARE_MEMORY = 1024**3
"""Bytes left for the engine, Ansible and whoever works on the host."""
MACHINE_DISK = 100 * 1024**2
"""Bytes that a machine's own disk grows to: journals, and what roles render."""

_TOOLS = {
    "systemd-nspawn": "apt-get install systemd-container",
    "ip": "apt-get install iproute2",
    "nft": "apt-get install nftables",
    "nsenter": "apt-get install util-linux",
    "ssh-keygen": "apt-get install openssh-client",
}
_KERNEL = {
    "bridge": ["ip", "link", "add", "probe", "type", "bridge"],
    "veth": ["ip", "link", "add", "probe", "type", "veth", "peer", "name", "probed"],
    "nftables": [
        "nft",
        "add table inet probe; add chain inet probe c { type filter hook input priority 0; }",
    ],
}


@dataclass(frozen=True)
class Host:
    """The facts that the checks need."""

    system: str
    uid: int
    missing_tools: tuple[str, ...]
    missing_kernel: tuple[str, ...]
    memory_available: int
    disk_free: int
    state: Path
    state_filesystem: str
    inside_twin: bool


def look(twin: Twin) -> Host:
    """The facts of this host. The kernel is asked by doing, in an empty network namespace."""
    folders.state().mkdir(parents=True, exist_ok=True, mode=0o700)
    missing = tuple(tool for tool in _TOOLS if not shutil.which(tool))
    root = os.geteuid() == 0
    linux = platform.system() == "Linux"
    return Host(
        system=platform.system(),
        uid=os.geteuid(),
        missing_tools=missing,
        missing_kernel=_missing_kernel() if root and linux and not missing else (),
        memory_available=_memory_available() if linux else 0,
        disk_free=shutil.disk_usage(folders.state()).free,
        state=folders.state(),
        state_filesystem=_filesystem(folders.state()) if linux else "",
        inside_twin=_inside(twin),
    )


def basics(host: Host) -> list[UserError]:
    """What stands in the way of touching a twin at all, be it only to take it down."""
    if host.system != "Linux":
        return [UserError(f"this is {host.system}; the twin's machines need Linux", "run it in a Linux VM")]
    if host.uid != 0:
        return [UserError(f"user {host.uid} cannot make or end machines", "run the same command as root")]
    if host.inside_twin:
        return [UserError("this shell is inside the twin", "leave it, and say it again from the host")]
    return []


def faults(host: Host, new_machines: int) -> list[UserError]:
    """What stands in the way of `new_machines` more machines, most basic first; empty if nothing does."""
    if found := basics(host):
        return found
    found = [UserError(f"{tool} is not installed", _TOOLS[tool]) for tool in host.missing_tools]
    found += [
        UserError(f"the kernel has no {feature}", "take a kernel that has it: Debian's own does")
        for feature in host.missing_kernel
    ]
    if host.state_filesystem == "overlay":
        what = f"{host.state} is itself on an overlay, which cannot carry machines' disks"
        found.append(UserError(what, "set XDG_STATE_HOME to a folder on ext4, xfs, btrfs or tmpfs"))
    memory = new_machines * MACHINE_MEMORY + SPARE_MEMORY if new_machines else 0
    if host.memory_available < memory:
        what = f"{new_machines} machines need {_gb(memory)} of memory; {_gb(host.memory_available)} are free"
        found.append(UserError(what, "take another twin down, or a machine with more memory"))
    disk = new_machines * MACHINE_DISK
    if host.disk_free < disk:
        what = f"{new_machines} machines need {_gb(disk)} of disk; {host.state} has {_gb(host.disk_free)} free"
        found.append(UserError(what, "make room there, or set XDG_STATE_HOME to a larger disk"))
    return found


def check(twin: Twin, new_machines: int) -> None:
    """Raise one UserError that holds every message of `faults`, or return."""
    _raise(faults(look(twin), new_machines))


def may_touch(twin: Twin) -> None:
    """Raise the UserError of `basics`, or return."""
    _raise(basics(look(twin)))


def _raise(found: list[UserError]) -> None:
    if found:
        raise UserError("; ".join(it.what for it in found), "; ".join(it.way_out for it in found))


def _missing_kernel() -> tuple[str, ...]:
    missing = [name for name, tried in _KERNEL.items() if not _works(["unshare", "--net", *tried])]
    if "overlay" not in Path("/proc/filesystems").read_text() and not _works(["modprobe", "overlay"]):
        missing.append("overlay")
    return tuple(missing)


def _works(argv: list[str]) -> bool:
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def _memory_available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def _filesystem(path: Path) -> str:
    """The type of the file system that `path` is on: that of the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = [(point, kind) for point, kind in mounts if path.resolve().is_relative_to(point)]
    return max(above, key=lambda it: len(it[0]))[1]


def _inside(twin: Twin) -> bool:
    path = twin.netns_path()
    return path.exists() and path.stat().st_ino == Path("/proc/self/ns/net").stat().st_ino


def _gb(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB"
