"""A control group for each machine in every hierarchy of the host, version 1 or 2.

Without one of its own, a machine's systemd takes its neighbours' processes for its own services'.
"""

import contextlib
import functools
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from qhs.errors import UserError

_GONE_WITHIN = 10.0
"""Seconds that a killed machine may take to leave."""
_STILL_WITHIN = 10.0
"""Seconds that a machine may take to stand still, or to go on."""


@functools.cache
def hierarchies() -> dict[str, Path]:
    """Mount points by controller; `unified` is version 2's."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind == "cgroup2":
            found.setdefault("unified", Path(point))
        elif kind == "cgroup":
            for option in options.split(","):
                if option in _V1:
                    found.setdefault(option, Path(point))
    if not found:
        raise UserError("no control groups are mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    return found


# Only named here because mount options list them among others like rw and relatime.
_V1 = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio",
       "perf_event", "hugetlb", "rdma", "misc", "name=systemd")  # fmt: skip


_FOR_MACHINES = {"cpu", "cpuset", "io", "memory", "pids"}
"""Controllers of version 2 that a machine's systemd meters and bounds its services with."""


def legacy() -> bool:
    """Whether controllers are version 1's."""
    return "freezer" in hierarchies()


def points() -> list[Path]:
    """Every hierarchy's mount point, once."""
    return list(dict.fromkeys(hierarchies().values()))


@dataclass(frozen=True)
class Group:
    """The control group `parent/name` in every hierarchy."""

    parent: str
    name: str

    def create(self) -> None:
        for point in points():
            (point / self.parent / self.name).mkdir(parents=True, exist_ok=True)
        if cpuset := hierarchies().get("cpuset"):
            # A version 1 cpuset is born empty, and an empty one takes no process.
            for child in (cpuset / self.parent, cpuset / self.parent / self.name):
                for knob in ("cpuset.cpus", "cpuset.mems"):
                    (child / knob).write_text((child.parent / knob).read_text())
        if not legacy():
            root = hierarchies()["unified"]
            there = set((root / "cgroup.controllers").read_text().split()) & _FOR_MACHINES
            for level in (root, root / self.parent):
                (level / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(there)))

    def join(self, pid: int) -> None:
        """Move the process `pid` in."""
        for point in points():
            (point / self.parent / self.name / "cgroup.procs").write_text(f"{pid}\n")

    def exists(self) -> bool:
        return any((point / self.parent / self.name).is_dir() for point in points())

    def processes(self) -> list[int]:
        pids: list[int] = []
        for lister in self._main().rglob("cgroup.procs"):
            try:
                pids += map(int, lister.read_text().split())
            except OSError:
                continue  # the group, or its reader, went meanwhile
        return pids

    def init(self) -> int | None:
        """The pid, on the host, of the process that is 1 inside."""
        return next((pid for pid in self.processes() if _pid_inside(pid) == [1]), None)

    def supervised(self) -> bool:
        """Whether the machine's systemd-nspawn lives: without it nothing reads its console."""
        return any(_command(pid) == "systemd-nspawn" for pid in self.processes())

    def kill(self) -> None:
        """End every process in it, as a power cut would. Raises UserError if some will not go."""
        if legacy() and self.frozen():
            # A process frozen by version 1 would die only once it is thawed.
            self.freeze(False)
        deadline = time.monotonic() + _GONE_WITHIN
        while pids := [pid for pid in self.processes() if not _dead(pid)]:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if time.monotonic() > deadline:
                raise UserError(f"{self.name}: processes {pids} survive SIGKILL", "see `dmesg`; then try again")
            time.sleep(0.02)

    def freeze(self, still: bool) -> None:
        """Stop all its processes where they are, or let them go on. Raises UserError if they do not."""
        knob, word = ("freezer.state", ("THAWED", "FROZEN")) if legacy() else ("cgroup.freeze", ("0", "1"))
        deadline = time.monotonic() + _STILL_WITHIN
        while self.frozen() != still:
            if time.monotonic() > deadline:
                wanted = "stand still" if still else "go on"
                raise UserError(f"{self.name}: some of its processes do not {wanted}", "see `dmesg`; then try again")
            # Again each time: version 1 gives up on a group whose processes change while it freezes them.
            (self._main() / knob).write_text(word[still])
            time.sleep(0.01)

    def frozen(self) -> bool:
        """Whether all its processes stand still."""
        knob, still = ("freezer.state", "FROZEN\n") if legacy() else ("cgroup.events", "frozen 1\n")
        try:
            return still in (self._main() / knob).read_text()
        except OSError:
            return False  # it has no group, or loses it now

    def remove(self) -> None:
        """Remove the groups, which must be empty of processes."""
        for point in points():
            top = point / self.parent / self.name
            below = sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True) if top.is_dir() else []
            for path in (*below, *((top,) if top.is_dir() else ())):
                _rmdir(path)
            _remove_childless(point / self.parent)

    def memory_bytes(self) -> int | None:
        """Its working set: all but files that nobody has used lately; None where the kernel does not count it."""
        first = "memory" in hierarchies()
        used, unused = (
            ("memory.usage_in_bytes", "total_inactive_file") if first else ("memory.current", "inactive_file")
        )
        try:
            stat = dict(line.split() for line in self._knob("memory", "memory.stat").splitlines())
            return int(self._knob("memory", used)) - int(stat[unused])
        except FileNotFoundError:
            return None

    def cpu_seconds(self) -> float:
        if "cpuacct" in hierarchies():
            return int(self._knob("cpuacct", "cpuacct.usage")) / 1e9
        stat = dict(line.split() for line in self._knob("cpu", "cpu.stat").splitlines())
        return int(stat["usage_usec"]) / 1e6

    def _knob(self, controller: str, name: str) -> str:
        point = hierarchies().get(controller) or hierarchies()["unified"]
        return (point / self.parent / self.name / name).read_text()

    def _main(self) -> Path:
        point = hierarchies()["freezer" if legacy() else "unified"]
        return point / self.parent / self.name


def _remove_childless(group: Path) -> None:
    """Of the machines that end at one moment, any may take their common group away."""
    with contextlib.suppress(FileNotFoundError):
        if not any(path.is_dir() for path in group.iterdir()):
            _rmdir(group)


def _rmdir(path: Path) -> None:
    """The kernel empties a group a moment after its last process has died."""
    deadline = time.monotonic() + _GONE_WITHIN
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _pid_inside(pid: int) -> list[int]:
    """The pids of a process in the pid namespaces below this one, outermost first."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return []
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "NSpid:")
    return [int(word) for word in line.split()[2:]]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _dead(pid: int) -> bool:
    """Gone, or a zombie that only its parent can bury."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
