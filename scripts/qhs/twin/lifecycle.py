"""A twin's life: up, status, down. Each leaves what it promises, however the last run ended."""

import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qhs import image as images
from qhs.errors import UserError
from qhs.image import Image
from qhs.lock import alone
from qhs.progress import Progress, silent
from qhs.twin import access, boot, disk, limits, preflight, ready, wires
from qhs.twin.names import NETNS_FOLDER, Twin
from qhs.twin.topology import Machine, Topology

BOOT_WITHIN = 120.0
"""Seconds from power-on to SSH before a machine is called stuck; a lone one takes about 3."""

State = Literal["running", "orphaned", "off"]
"""orphaned: its init lives, its systemd-nspawn does not."""


@dataclass(frozen=True)
class Up:
    """What `up` did. `booted` has the seconds to SSH of each machine that was started."""

    image: Image
    booted: dict[str, float]
    kept: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class MachineStatus:
    """One machine as it is now; figures are None while it is off."""

    name: str
    state: State
    boot_seconds: float | None
    memory_bytes: int | None
    cpu_seconds: float | None
    addresses: tuple[str, ...]


def up(topology: Topology, progress: Progress = silent, twin: Twin | None = None) -> Up:
    """Make the twin what the topology says: nothing where it already is, and anew only what differs.

    Raises UserError; whatever was reached by then stays, and the next `up` goes on from there.
    """
    twin = twin or Twin.here()
    started = time.monotonic()
    with alone(twin.lock, f"`up` or `down` of twin {twin.name}"):
        check(twin, len(topology.machines))
        image = images.ensure(progress)
        twin.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        wires.ensure_namespace(twin)
        limits.ensure()
        _remove_strangers(twin, topology, progress)
        wires.ensure_bridges(twin, topology)
        wires.ensure_clients(twin, topology.clients)
        marked = [(machine, disk.mark(machine, image)) for machine in topology.machines]
        plugged = wires.plugged(twin, marked)
        due = [it for it, mark in marked if it.name not in plugged or not _stands(twin, it, mark)]
        booted = _boot(twin, topology, due, image, progress)
        kept = tuple(machine.name for machine in topology.machines if machine not in due)
        return Up(image, booted, kept, time.monotonic() - started)


def check(twin: Twin, machines: int) -> None:
    """Raise UserError where this host cannot carry `machines` in all: those that run have what they need."""
    running = [name for name in twin.machines() if state(twin, name) == "running"]
    preflight.check(twin, max(0, machines - len(running)))


def down(progress: Progress = silent, twin: Twin | None = None) -> None:
    """Take all away: processes, mounts, interfaces, namespaces, control groups, disks, the raised limit."""
    twin = twin or Twin.here()
    with alone(twin.lock, f"`up` or `down` of twin {twin.name}"):
        preflight.may_touch(twin)
        machines = sorted({*twin.machines(), *boot.groups(twin)})
        progress(f"power off: {', '.join(machines) or 'no machine is there'}")
        boot.power_off(twin, machines)
        there, clients = wires.namespaces(twin)
        _end_guests(twin, clients, there)
        for client in clients:
            wires.remove_client(twin, client)
        if there:
            wires.remove_namespace(twin)
        shutil.rmtree(twin.state / "machines", ignore_errors=True)
        access.forget(twin)
        limits.restore()


def status(twin: Twin | None = None) -> list[MachineStatus]:
    """Every machine that the twin has a disk for."""
    twin = twin or Twin.here()
    return [_status(twin, name) for name in twin.machines()]


def state(twin: Twin, name: str) -> State:
    own = boot.group(twin, name)
    if not own.exists() or own.init() is None:
        return "off"
    return "running" if own.supervised() else "orphaned"


def _status(twin: Twin, name: str) -> MachineStatus:
    record = disk.load(twin.machine(name))
    now = state(twin, name)
    own = boot.group(twin, name)
    live = now != "off"
    return MachineStatus(
        name=name,
        state=now,
        boot_seconds=record.boot_seconds if record and live else None,
        memory_bytes=own.memory_bytes() if live else None,
        cpu_seconds=round(own.cpu_seconds(), 1) if live else None,
        addresses=record.addresses if record else (),
    )


def _stands(twin: Twin, machine: Machine, mark: str) -> bool:
    """Whether a machine runs, and as what it should be."""
    record = disk.load(twin.machine(machine.name))
    return state(twin, machine.name) == "running" and record is not None and record.mark == mark


def _boot(twin: Twin, topology: Topology, due: list[Machine], image: Image, progress: Progress) -> dict[str, float]:
    key = access.operator_public_key(twin)
    boot.power_off(twin, (machine.name for machine in due))
    for machine in due:
        disk.prepare(twin, machine, image, key)
    access.write(twin, topology)
    launches = []
    for machine in due:
        progress(f"{machine.name}: power on")
        launches.append(boot.launch(twin, machine, image.path))
    boot.wire(twin, launches, {machine.name: disk.mark(machine, image) for machine in due})
    for launch in launches:
        launch.go()
    ended = {launch.machine.name: launch.process for launch in launches}
    wait = ready.Wait(
        addresses={machine.name: topology.management(machine) for machine in topology.machines},
        died=lambda name: name in ended and ended[name].poll() is not None,
        tail=lambda name: boot.tail(twin.machine(name)),
        progress=progress if due else silent,
    )
    wait.run(twin, BOOT_WITHIN)
    booted = {machine.name: round(wait.answered[machine.name], 1) for machine in due}
    for name, seconds in booted.items():
        disk.booted(twin.machine(name), seconds)
    return booted


def _remove_strangers(twin: Twin, topology: Topology, progress: Progress) -> None:
    """Machines that the topology no longer has, disks included."""
    wanted = {machine.name for machine in topology.machines}
    strangers = {*twin.machines(), *boot.groups(twin)} - wanted
    boot.power_off(twin, strangers)
    for name in strangers:
        progress(f"{name}: no longer wanted, removed")
        shutil.rmtree(twin.machine(name).folder, ignore_errors=True)


def _end_guests(twin: Twin, clients: list[str], there: bool) -> None:
    """End what still runs in the twin's namespaces: shells, SSH masters, probes. It would keep them alive."""
    names = [*(twin.client_netns(client) for client in clients), *((twin.netns,) if there else ())]
    inodes = {(NETNS_FOLDER / name).stat().st_ino for name in names}
    for sign in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 3
        while guests := _guests(inodes):
            if time.monotonic() > deadline:
                break
            for pid in guests:
                with suppress(ProcessLookupError):
                    os.kill(pid, sign)
            time.sleep(0.1)
    if guests := _guests(inodes):
        raise UserError(f"processes {guests} hold the twin's namespaces", "end them, then `qhs down`")


def _guests(inodes: set[int]) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            if path.stat().st_ino in inodes:
                found.append(int(path.parts[2]))
        except OSError:
            continue
    return found
