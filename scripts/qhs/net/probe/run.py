"""Sends probes, and says whether the world does what the catalogue says."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from qhs.lock import alone
from qhs.net.probe.cells import Probe
from qhs.net.probe.flight import fly
from qhs.net.probe.listener import Spot, listening
from qhs.net.probe.neighbour import silent
from qhs.net.probe.packets import Fate, Order
from qhs.net.probe.stands import standing
from qhs.net.probe.vantage import Vantage
from qhs.twin.names import Twin

ASKERS = 8


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a probe's packet."""

    probe: Probe
    fate: Fate

    @property
    def as_wanted(self) -> bool:
        """Allowed packets are answered; all others are stopped by a rule, so by one that they came to.

        A firewall's own rules drop: where it refuses, it has let the packet in, unless the sender's own rules did.
        """
        if self.probe.allowed_by is not None:
            return self.fate is Fate.OPEN
        let_in = self.probe.holder.kind == "firewall" and self.probe.source.kind in ("client", "stand")
        return (
            self.fate is Fate.DROP
            or (self.fate is Fate.REJECT and not let_in)
            or (self.fate is Fate.NO_ROUTE and not self.probe.routed)
        )

    def __str__(self) -> str:
        probe = self.probe
        wanted = f"open by flow {probe.allowed_by}" if probe.allowed_by else "stopped by a rule"
        to = f"{probe.target.place} {probe.address} {probe.packet} ({probe.target.service})"
        return f"{probe.source.place} ({probe.source.name}) -> {to}: found {self.fate}; wanted {wanted}"


def run(twin: Twin, chosen: Sequence[Probe]) -> list[Result]:
    """Send every probe, with stands and listeners where they are due. Raises UserError.

    First each neighbour is asked: where it is silent, nothing is sent, and that is wanted of no packet.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone(twin.state / "probe.lock", f"a probe of twin {twin.name}"))
        needed = [one for probe in chosen for one in (probe.source, probe.holder)]
        there = stack.enter_context(standing(twin, needed))
        held = stack.enter_context(listening(_spots(chosen, there)))
        cut = _cut(chosen, there)

        def order(probe: Probe) -> Order:
            source = there.get(probe.source, probe.source)
            holder = there.get(probe.holder, probe.holder)
            ours = (holder, Spot(probe.protocol, probe.address, probe.port)) not in held
            own = source.address(probe.family)
            return Order(source.where, probe.protocol, own, probe.address, probe.port, ours)

        sent = [number for number, probe in enumerate(chosen) if (probe.source, probe.neighbour) not in cut]
        fates = _sent(sent, [order(chosen[number]) for number in sent])
        # What is lost on a busy machine gets through when it is asked again, alone; what a rule drops does not.
        lost = [number for number in sent if chosen[number].allowed_by and fates[number] is Fate.DROP]
        fates |= _sent(lost, [order(chosen[number]) for number in lost])
        return [Result(probe, fates.get(number, Fate.NO_WIRE)) for number, probe in enumerate(chosen)]


def _sent(numbers: list[int], orders: list[Order]) -> dict[int, Fate]:
    return dict(zip(numbers, fly(orders), strict=True))


def _spots(chosen: Sequence[Probe], there: Mapping[Vantage, Vantage]) -> dict[Vantage, dict[Spot, None]]:
    """Where listeners are due; nothing listens for an echo."""
    due: dict[Vantage, dict[Spot, None]] = {}
    for probe in chosen:
        if probe.port:
            holder = there.get(probe.holder, probe.holder)
            due.setdefault(holder, {})[Spot(probe.protocol, probe.address, probe.port)] = None
    return due


def _cut(chosen: Sequence[Probe], there: Mapping[Vantage, Vantage]) -> set[tuple[Vantage, str]]:
    """Places and the neighbours that do not answer there."""
    asked: dict[Vantage, set[str]] = {}
    for probe in chosen:
        if probe.neighbour:
            asked.setdefault(probe.source, set()).add(probe.neighbour)
    with ThreadPoolExecutor(ASKERS) as pool:
        found = pool.map(lambda it: silent(there.get(it[0], it[0]), it[1]), asked.items())
        return {(source, one) for source, missing in zip(asked, found, strict=True) for one in missing}
