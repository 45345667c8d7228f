"""C-NET-03, transitive: no chain of allowed hops leads from outside to what must be out of its reach."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache

from policies.baseline import load
from policies.rules.reach import Limits, NoWayIn
from qhs.net.prove.cells import Cell, Judge, Packet
from qhs.net.prove.facts import Area, Target
from qhs.net.prove.paths import Hop, Way
from qhs.net.prove.space import ANY_ADDRESS, FAMILIES, Box, both, rest, sample


@cache
def limits() -> Limits:
    """Where chains start without a firewall between, and where none may end: the control's own thresholds."""
    return Limits.model_validate(load().thresholds(NoWayIn.control))


def chains(judge: Judge) -> Iterator[Cell]:
    """One cell for each outside place, protected place and family.

    A hop counts where rules let it pass, not where a flow was meant. One that can only use services which declare
    `breaks` ends the chain; from the Internet straight into a protected place none may pass at all.
    """
    facts = judge.facts
    targets: dict[str, list[Target]] = {}
    for target in facts.targets:
        if target.breaks:
            targets.setdefault(target.area, []).append(target)
    protected = [area for area in facts.areas.values() if area.kind in limits().protected]
    for start in facts.areas.values():
        for family in FAMILIES if start.outside else ():
            found = _spread(judge, start, family, targets)
            for area in protected:
                names = (start.name, area.name, "chain of hops")
                trail = _trail(found, start, area)
                packet = _shown(trail, family) if trail else None
                yield Cell("chain", *names, family, "deny", "part" if packet else "deny", packet)


type _Found = dict[str, tuple[Area, Area, Way]]


def _spread(judge: Judge, start: Area, family: int, breaking: dict[str, list[Target]]) -> _Found:
    """Every place that chains from `start` get to, with the last hop of a shortest one."""
    found: _Found = {}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for area in judge.facts.areas.values():
            if area.outside or area.name in found or area.network == here.network:
                continue
            strict = here.kind in limits().open_media and area.kind in limits().protected
            cuts = [] if strict else [_box(target, family) for target in breaking.get(area.name, ())]
            way = next(_arriving(judge, (here, area), family, cuts), None)
            if way is not None:
                found[area.name] = (here, area, way)
                queue.append(area)
    return found


def _arriving(judge: Judge, pair: tuple[Area, Area], family: int, cuts: list[Box]) -> Iterator[Way]:
    """From a segment of ours any source may be forged; a place behind others' equipment has its own addresses."""
    here, area = pair
    ours = not here.outside and here.network != judge.facts.link
    source = ANY_ADDRESS[family] if ours else here.addresses[family]
    for way in judge.paths.reached(here.network, family).get(area.network, []):
        scope = both(way.box, Box(source, area.addresses[family], way.box.svc))
        for box in rest(scope, cuts) if scope else ():
            yield from judge.paths.delivered(Way(box, way.hops), area.network, family)


def _box(target: Target, family: int) -> Box:
    return Box(ANY_ADDRESS[family], target.dst[family], target.svc[family])


def _trail(found: _Found, start: Area, area: Area) -> list[tuple[Area, Area, Way]]:
    trail: list[tuple[Area, Area, Way]] = []
    at = area
    while at.name in found and (not trail or at.name != start.name):
        trail.insert(0, found[at.name])
        at = found[at.name][0]
    return trail


def _shown(trail: list[tuple[Area, Area, Way]], family: int) -> Packet:
    """The last packet of the chain, with every hop of all of it."""
    hops: list[Hop] = [hop for _, _, way in trail for hop in way.hops]
    note = " -> ".join([trail[0][0].name, *(f"{to.name} ({sample(way.box, family)[2]})" for _, to, way in trail)])
    return Packet(*sample(trail[-1][2].box, family), tuple(hops), note)
