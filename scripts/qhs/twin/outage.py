"""Break a twin on purpose, and mend it: power, a standstill, cut wires. Each twice is as good as once."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from qhs import power
from qhs.errors import UserError
from qhs.lock import in_turn
from qhs.progress import Progress, silent
from qhs.twin import boot, disk, endpoint, inside, lifecycle, links
from qhs.twin.names import Twin
from qhs.twin.standing import Standing, state
from qhs.twin.topology import Machine, Topology

_AT_ONCE = 8


def machines(topology: Topology, word: str) -> tuple[Machine, ...]:
    """The machine, or the site's machines, that `word` means. Raises UserError if it means none.

    A site's islands are not among them: they hang on nothing that the site has.
    """
    found = tuple(one for one in topology.machines if one.name == word or (one.site == word and not one.island))
    if not found:
        sites = sorted({machine.site for machine in topology.machines})
        raise UserError(f"there is no machine or site {word}", f"qhs twin status; the sites are {', '.join(sites)}")
    return found


def power_off(twin: Twin, word: str) -> list[str]:
    """Cut the power of machines, over Redfish; those that had it, each off when this returns. Raises UserError."""
    standing = Standing.load(twin)
    return _switch(twin, standing, machines(standing.topology, word), on=False)


def power_on(twin: Twin, word: str, progress: Progress = silent) -> list[str]:
    """Give machines power, over Redfish; those that had none, each answering when this returns. Raises UserError.

    One whose management port is cut is not waited for.
    """
    standing = Standing.load(twin)
    started = time.monotonic()
    changed = _switch(twin, standing, machines(standing.topology, word), on=True)
    cut = links.cuts(twin)
    due = [one for one in standing.topology.managed if one.name in changed and not _management(standing, one) & cut]
    waited = Topology.model_construct(**dict(standing.topology) | {"machines": tuple(due)})
    for name, seconds in lifecycle.await_machines(twin, waited, {}, started, progress).items():
        disk.booted(twin.machine(name), round(seconds, 1))
    return changed


def pause(twin: Twin, word: str) -> list[str]:
    """Let machines stand still, as a hung host does: their wires stay, they answer nothing. Those that ran."""
    return _freeze(twin, word, still=True)


def resume(twin: Twin, word: str) -> list[str]:
    """Let paused machines go on; those that were paused."""
    return _freeze(twin, word, still=False)


def cut(twin: Twin, word: str) -> list[str]:
    """Pull the wires that `word` means (see `links.legs`), until they are healed; those that were whole."""
    return _pull(twin, word, lambda before, meant: before | meant)


def heal(twin: Twin, word: str) -> list[str]:
    """Put the wires back; those that were cut."""
    return _pull(twin, word, lambda before, meant: before - meant)


def _switch(twin: Twin, standing: Standing, chosen: tuple[Machine, ...], on: bool) -> list[str]:
    def one(machine: Machine) -> bool:
        service = endpoint.service(twin, standing.topology, machine)
        return inside.call(twin.netns_path(), lambda: power.force(service, machine.name, on))

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        changed = list(threads.map(one, chosen))
    return [machine.name for machine, moved in zip(chosen, changed, strict=True) if moved]


def _management(standing: Standing, machine: Machine) -> set[str]:
    reached = {operator.bridge for operator in standing.topology.operators}
    return {f"{machine.name}:{leg.interface}" for leg in machine.legs if leg.bridge in reached}


def _freeze(twin: Twin, word: str, still: bool) -> list[str]:
    chosen = [machine.name for machine in machines(Standing.load(twin).topology, word)]
    with in_turn(twin.lock, f"twin {twin.name}", silent):
        states = {name: state(twin, name) for name in chosen}
        if off := [name for name, now in states.items() if now == "off"]:
            raise UserError(f"{', '.join(off)}: without power", f"qhs twin power-on {word}")
        changed = [name for name, now in states.items() if (now == "paused") != still]
        for name in changed:
            boot.group(twin, name).freeze(still)
    return changed


def _pull(twin: Twin, word: str, change: Callable[[set[str], set[str]], set[str]]) -> list[str]:
    topology = Standing.load(twin).topology
    meant = links.legs(topology, word)
    with in_turn(twin.lock, f"twin {twin.name}", silent):
        before = links.cuts(twin)
        after = change(before, meant)
        links.keep(twin, after)
        links.apply(twin, topology)
    return sorted(before ^ after)
