"""A twin's life: up, status, down. Each leaves what it promises, however the last run ended."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from qhs import image as images
from qhs.image import Image
from qhs.lock import alone
from qhs.progress import Progress, silent
from qhs.twin import access, boot, disk, endpoint, guests, limits, links, preflight, ready, wires
from qhs.twin.names import Twin
from qhs.twin.standing import Standing, State, state
from qhs.twin.start import Processes, start
from qhs.twin.topology import Machine, Topology

BOOT_WITHIN = 120.0
"""Seconds from power-on to SSH before a machine is called stuck; a lone one takes about 3."""


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
        _resume(twin, progress)
        check(twin, len(topology.machines))
        image = images.ensure(progress)
        twin.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        wires.ensure_namespace(twin)
        limits.ensure()
        _remove_strangers(twin, topology, progress)
        wires.ensure_bridges(twin, topology)
        _heal(twin, topology, progress)
        wires.ensure_clients(twin, topology.clients)
        standing = Standing(image, topology)
        standing.save(twin)
        endpoint.ensure(twin, topology, progress)
        marked = [(machine, disk.mark(machine, image)) for machine in topology.machines]
        plugged = wires.plugged(twin, marked)
        due = [it for it, mark in marked if it.name not in plugged or not _stands(twin, it, mark)]
        booted = _boot(twin, standing, due, progress)
        kept = tuple(machine.name for machine in topology.machines if machine not in due)
        return Up(image, booted, kept, time.monotonic() - started)


def check(twin: Twin, machines: int) -> None:
    """Raise UserError where this host cannot carry `machines` in all: those that run have what they need."""
    running = [name for name in twin.machines() if state(twin, name) in ("running", "paused")]
    preflight.check(twin, max(0, machines - len(running)))


def down(progress: Progress = silent, twin: Twin | None = None) -> None:
    """Take all away: processes, mounts, interfaces, namespaces, control groups, disks, the raised limit."""
    twin = twin or Twin.here()
    with alone(twin.lock, f"`up` or `down` of twin {twin.name}"):
        preflight.may_touch(twin)
        there, clients = wires.namespaces(twin)
        # First, or the power endpoint could start a machine again.
        guests.end(map(twin.netns_path, (None, *clients)))
        machines = sorted({*twin.machines(), *boot.groups(twin)})
        progress(f"power off: {', '.join(machines) or 'no machine is there'}")
        boot.power_off(twin, machines)
        for client in clients:
            wires.remove_client(twin, client)
        if there:
            wires.remove_namespace(twin)
        shutil.rmtree(twin.state / "machines", ignore_errors=True)
        access.forget(twin)
        endpoint.forget(twin)
        links.keep(twin, set())
        twin.standing.unlink(missing_ok=True)
        limits.restore()


def status(twin: Twin | None = None) -> list[MachineStatus]:
    """Every machine that the twin has a disk for."""
    twin = twin or Twin.here()
    return [_status(twin, name) for name in twin.machines()]


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


def _resume(twin: Twin, progress: Progress) -> None:
    """Let machines go on that were paused: `up` is for a whole twin."""
    for name in twin.machines():
        if state(twin, name) == "paused":
            progress(f"{name}: resumed")
            boot.group(twin, name).freeze(False)


def _heal(twin: Twin, topology: Topology, progress: Progress) -> None:
    """Forget the cuts; the ports are put back with the others that are not as they should be."""
    if cut := links.cuts(twin):
        progress(f"healed: {', '.join(links.told(topology, cut))}")
    links.keep(twin, set())


def _boot(twin: Twin, standing: Standing, due: list[Machine], progress: Progress) -> dict[str, float]:
    started = time.monotonic()
    ended = start(twin, standing, due, progress)
    answered = await_machines(twin, standing.topology, ended, started, progress if due else silent)
    booted = {machine.name: round(answered[machine.name], 1) for machine in due}
    for name, seconds in booted.items():
        disk.booted(twin.machine(name), seconds)
    return booted


def await_machines(
    twin: Twin, topology: Topology, ended: Processes, started: float, progress: Progress
) -> dict[str, float]:
    """Wait until every machine answers SSH; the seconds that each took. Raises UserError for one that does not."""
    wait = ready.Wait(
        addresses={machine.name: topology.management(machine) for machine in topology.managed},
        died=lambda name: name in ended and ended[name].poll() is not None,
        tail=lambda name: boot.tail(twin.machine(name)),
        progress=progress,
        started=started,
    )
    wait.run(twin.netns_path(), BOOT_WITHIN)
    for name in (machine.name for machine in topology.machines if machine.island):
        # Nobody reaches it, so it is asked from within.
        wait.addresses = {name: "127.0.0.1"}
        pid = ended[name].pid if name in ended else boot.group(twin, name).init()
        wait.run(Path(f"/proc/{pid}/ns/net"), BOOT_WITHIN)
    return wait.answered


def _remove_strangers(twin: Twin, topology: Topology, progress: Progress) -> None:
    """Machines that the topology no longer has, disks included."""
    wanted = {machine.name for machine in topology.machines}
    strangers = {*twin.machines(), *boot.groups(twin)} - wanted
    boot.power_off(twin, strangers)
    for name in strangers:
        progress(f"{name}: no longer wanted, removed")
        shutil.rmtree(twin.machine(name).folder, ignore_errors=True)
