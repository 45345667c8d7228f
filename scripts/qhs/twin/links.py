"""Wires that are cut on purpose, as a pulled cable is: the place at a cut leg sees its carrier gone.

Which ones is a wish, kept in the state folder: a cable that is out stays out when its machine is started again.
"""

import json
from collections.abc import Iterator

from qhs import whole
from qhs.errors import UserError
from qhs.twin import wires
from qhs.twin.names import Twin, port
from qhs.twin.topology import Topology


def cuts(twin: Twin) -> set[str]:
    """The legs that are cut, each as `PLACE:leg`."""
    return set(json.loads(twin.cuts.read_text())) if twin.cuts.is_file() else set()


def legs(topology: Topology, word: str) -> set[str]:
    """The legs that `word` means: one (`PLACE:leg`), all of a bridge, or those that join a site to the others.

    Raises UserError if it means none.
    """
    every = dict(_legs(topology))
    site = {machine.name for machine in topology.machines if machine.site == word}
    found = {
        leg
        for leg, bridge in every.items()
        if word in (leg, bridge) or (leg.partition(":")[0] in site and bridge in topology.between)
    }
    if not found and site:
        raise UserError(f"site {word} has no link to another site", "name a bridge or MACHINE:leg")
    if not found:
        sites = sorted({machine.site for machine in topology.machines})
        known = (
            f"sites {', '.join(sites)}; bridges {', '.join(topology.bridges)}; legs like {min(every, default='none')}"
        )
        raise UserError(f"there is no link {word}", f"take one of: {known}")
    return found


def keep(twin: Twin, cut: set[str]) -> None:
    """Note which legs are to be cut, whole or not at all."""
    if not cut:
        twin.cuts.unlink(missing_ok=True)
        return
    whole.write(twin.cuts, json.dumps(sorted(cut)) + "\n")


def apply(twin: Twin, topology: Topology) -> None:
    """Make the ports that are there what the note says: down where a leg is cut, up elsewhere."""
    cut, there = cuts(twin), wires.ports(twin)
    lines = []
    for leg, _ in _legs(topology):
        found = there.get(port(*leg.split(":")))
        if found and found.up == (leg in cut):
            lines.append(f"link set {found.name} {'down' if leg in cut else 'up'}")
    wires.ip(twin, lines)


def told(topology: Topology, cut: set[str]) -> list[str]:
    """What a person reads: a bridge by its name where all its legs are cut."""
    by_bridge: dict[str, set[str]] = {}
    for leg, bridge in _legs(topology):
        by_bridge.setdefault(bridge, set()).add(leg)
    whole = {bridge for bridge, own in by_bridge.items() if own <= cut}
    return sorted(whole) + sorted(cut - {leg for bridge in whole for leg in by_bridge[bridge]})


def _legs(topology: Topology) -> Iterator[tuple[str, str]]:
    """Every leg by its name, and its bridge."""
    for place in topology.places:
        for leg in place.legs:
            yield f"{place.name}:{leg.interface}", leg.bridge
