"""`qhs net prove`: decides every cell from the rules as the kernel shows them.

Served: C-NET-01, C-NET-02, C-NET-03. It shares no code with what makes rules: it reads the JSON that nft prints.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from qhs.net.prove.cells import Cell, Judge
from qhs.net.prove.facts import Facts, facts
from qhs.net.prove.filters import Filter
from qhs.net.prove.hops import chains
from qhs.net.prove.reader import NotUnderstoodError, read

__all__ = ["Cell", "Facts", "Judge", "NotUnderstoodError", "Proof", "decided", "facts", "judge", "prove"]


@dataclass(frozen=True)
class Proof:
    """Every cell with its answer."""

    cells: tuple[Cell, ...]
    missing: tuple[str, ...] = ()
    """Machines whose rules could not be had: then nothing is decided."""
    unbuilt: tuple[str, ...] = ()
    """Sites without firewalls: what is inside them was not asked."""

    @property
    def violations(self) -> tuple[Cell, ...]:
        """Cells in which packets pass or stop that should not."""
        return tuple(cell for cell in self.cells if cell.packet is not None)

    @property
    def code(self) -> Literal[0, 2, 3]:
        """0 all as wanted, 2 a violation, 3 incomplete."""
        return 3 if self.missing else 2 if self.violations else 0


def prove(known: Facts, listings: Mapping[str, Any], now: datetime) -> Proof:
    """Decide every cell; `listings` is `nft -j list ruleset` (printed under TZ=UTC) by machine.

    Raises NotUnderstoodError for a rule that cannot be decided about.
    """
    if missing := known.without(listings):
        return Proof((), missing, known.unbuilt)
    return decided(judge(known, listings, now))


def judge(known: Facts, listings: Mapping[str, Any], now: datetime) -> Judge:
    """Who answers for every cell, and for a single packet; there is a listing of every machine."""
    by_listing: dict[int, Filter] = {}  # members of a pair share their listing
    for name in known.nodes:
        if id(listings[name]) not in by_listing:
            by_listing[id(listings[name])] = read(listings[name], name)
    return Judge(known, {name: by_listing[id(listings[name])] for name in known.nodes}, now)


def decided(one: Judge) -> Proof:
    """Every cell with its answer: now, and at the second of every expiry to come."""
    collecting = gc.isenabled()
    gc.disable()  # many small tuples and no cycles: the collector would take a third of the time
    try:
        later = (cell for moment in one.ahead for cell in one.at(moment).expiries())
        return Proof((*one.cells(), *later, *chains(one)), unbuilt=one.facts.unbuilt)
    finally:
        if collecting:
            gc.enable()
