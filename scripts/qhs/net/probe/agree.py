"""Paper against packets: prove and probe must say the same of every cell, or one of the two is wrong (T-F04)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

from qhs.net.probe.cells import Cell, Probe
from qhs.net.probe.packets import Fate
from qhs.net.probe.run import Result
from qhs.net.prove import Cell as Proved
from qhs.net.prove import Judge, Proof, decided, judge
from qhs.net.prove.follow import Answer, enter, follow
from qhs.net.prove.live import found
from qhs.net.prove.space import PROTOCOLS, Box, service
from qhs.twin.names import Twin
from stacks.model import Estate

KINDS = ("flow", "rest")
"""The cells of a proof that are between places; the others are about one machine."""
ECHO = {4: ("icmp", 8), 6: ("icmpv6", 128)}
ONE_WIRE = "source and destination share a segment in which no machine of ours stands, whose own rules would decide"
NOBODY = "no namespace of the twin has an address there"
PODS = "a node gives the addresses of its pods, and none stands there while packets are sent"


@dataclass(frozen=True)
class Disagreement:
    """A packet that did what paper says it cannot do."""

    result: Result
    told: Answer

    def __str__(self) -> str:
        says = "passes" if self.told.passes else "is stopped"
        hops = "; ".join(f"{one.node} {one.iif or '-'} to {one.oif or 'itself'}: {one.by}" for one in self.told.hops)
        return f"{self.result}; on paper it {says}: {hops or 'no machine of ours is on its way'}"


@dataclass(frozen=True)
class Paper:
    """What the kernels' own rules say."""

    proof: Proof
    judge: Judge | None
    """None: a machine did not answer, so nobody can tell."""
    seconds: float
    """That it took to read their rules and decide."""


def paper(estate: Estate, twin: Twin, now: datetime) -> Paper:
    """Ask every machine of a running twin for its rules, and decide every cell."""
    known, listings = found(estate, twin)
    if missing := known.without(listings):
        return Paper(Proof((), missing), None, 0)
    started = time.monotonic()
    judged = judge(known, listings, now)
    return Paper(decided(judged), judged, time.monotonic() - started)


def disagreements(judge: Judge, proof: Proof, results: Sequence[Result]) -> Iterator[Disagreement]:
    """Every packet that was sent, against the answer of its cell; what no single cell answers is followed by itself."""
    cells = {Cell(one.source, one.destination, one.service, one.family): one for one in proof.cells
             if one.kind in KINDS}  # fmt: skip
    for result in results:
        cell = cells.get(result.probe.cell)
        passed = result.fate is Fate.OPEN
        if result.fate is Fate.NO_WIRE or (cell and cell.found == ("allow" if passed else "deny")):
            continue
        told = _followed(judge, result.probe)
        # What everyone in the Internet may, whoever is in a place may too: no cell of the place says so.
        of_cell = cell and (cell.wanted == "allow") == (result.probe.allowed_by is not None)
        if cell and of_cell and cell.found != "part":  # its answer stands, the packet alone shows the rules
            told = told._replace(passes=cell.found == "allow")
        if told.passes != passed:
            yield Disagreement(result, told)


def unplaced(estate: Estate, judge: Judge, proof: Proof, probed: set[Cell]) -> Counter[str]:
    """Cells of a proof that no packet was sent for, by the reason."""
    of_pods = {name for name, one in estate.catalogue.services.items() if one.on == "pods"}

    def why(one: Proved) -> str:
        if one.service in of_pods:
            return PODS
        source, destination = (judge.facts.areas[name].network for name in (one.source, one.destination))
        return ONE_WIRE if source == destination else NOBODY

    return Counter(
        why(one)
        for one in proof.cells
        if one.kind in KINDS and Cell(one.source, one.destination, one.service, one.family) not in probed
    )


def _followed(judge: Judge, probe: Probe) -> Answer:
    source, address = (int(ip_address(text)) for text in (probe.source.address(probe.family), probe.address))
    protocol, number = (probe.protocol, probe.port) if probe.port else ECHO[probe.family]
    packet = Box(((source, source),), ((address, address),), service(PROTOCOLS[protocol], number, number))
    if probe.is_for_firewall:
        node = judge.facts.nodes[probe.holder.name]
        port = node.by_network.get(judge.facts.areas[probe.source.place].network)
        return enter(judge, packet, node.name, port.name, probe.family) if port else Answer(False, ())
    return follow(judge, packet, probe.source.place, probe.target.place, probe.family)
