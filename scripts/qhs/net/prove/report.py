"""A proof as people and programs read it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field
from rich.console import Group
from rich.table import Table

from qhs.net.prove import Cell, Proof
from stacks.model import Estate, checks

SHOWN = 5  # violations of a kind on the terminal
KINDS = {
    "flow": "place to service",
    "rest": "anything else from place to place",
    "edge": "forwarding from port to port",
    "host": "what machines let in and out",
    "local": "what keeps machines manageable",
    "state": "replies pass, invalid packets do not",
    "expiry": "what expires ends at its second, established or not",
    "chain": "hops from outside (C-NET-03)",
}


class HopReport(BaseModel):
    """One machine on the way, and the rule (or policy) that decided there."""

    machine: str
    enters: str
    leaves: str
    rule: str


class Violation(BaseModel):
    """A cell that is not as wanted, with a packet that shows it."""

    kind: str
    source: str
    destination: str
    service: str
    family: Literal[4, 6]
    wanted: Literal["allow", "deny"]
    packet_source: str
    packet_destination: str
    packet_service: str = Field(description="protocol/port; for ICMP the message type")
    path: list[HopReport]
    note: str


class Count(BaseModel):
    """Cells of one kind."""

    cells: int
    allowed: int = Field(description="cells in which packets are meant to pass")
    wrong: int


class ProveReport(BaseModel):
    """What `qhs net prove --json` prints."""

    environment: str
    at: datetime
    total: int
    kinds: dict[str, Count]
    violations: list[Violation]
    missing: list[str] = Field(description="machines whose rules could not be had; then nothing is decided")
    unbuilt: list[str] = Field(description="sites without firewalls: what is inside them is not asked")
    warnings: list[str]
    limits: list[str] = Field(description="what this environment cannot do, and what stands in for it")
    code: Literal[0, 2, 3]


def report(proof: Proof, estate: Estate, at: datetime) -> ProveReport:
    """The proof of an estate as data."""
    return ProveReport(
        environment=estate.inventory.environment,
        at=at,
        total=len(proof.cells),
        kinds={kind: _count([cell for cell in proof.cells if cell.kind == kind]) for kind in KINDS},
        violations=[one for cell in proof.violations for one in _violation(cell)],
        missing=list(proof.missing),
        unbuilt=list(proof.unbuilt),
        warnings=checks.expiring(estate, at),
        limits=estate.inventory.limit_lines(),
        code=proof.code,
    )


def table(done: ProveReport) -> Group:
    """The proof for a terminal: counts, then the first violations with their packets."""
    counts = Table("cells", "of kind", "meant to pass", "wrong", title=f"{done.environment}: {done.total} cells")
    for column in (0, 2, 3):
        counts.columns[column].justify = "right"
    for kind, count in done.kinds.items():
        counts.add_row(str(count.cells), f"{kind}: {KINDS[kind]}", str(count.allowed), str(count.wrong))
    lines = []
    for kind in KINDS:  # one hole shows in cells of several kinds, each from its own point of view
        found = [one for one in done.violations if one.kind == kind]
        lines += [_line(one) for one in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"... and {len(found) - SHOWN} more of kind {kind}: see --json")
    if done.missing:
        lines.append(f"incomplete, no rules from: {', '.join(done.missing)}")
    if done.unbuilt:
        lines.append(f"no firewalls yet at {', '.join(done.unbuilt)}: what passes inside was not asked")
    return Group(counts, *lines, *done.warnings, *done.limits)


def _count(cells: list[Cell]) -> Count:
    wanted = Counter(cell.wanted for cell in cells)
    return Count(cells=len(cells), allowed=wanted["allow"], wrong=sum(cell.packet is not None for cell in cells))


def _violation(cell: Cell) -> list[Violation]:
    if cell.packet is None:
        return []
    packet = cell.packet
    return [
        Violation(
            kind=cell.kind,
            source=cell.source,
            destination=cell.destination,
            service=cell.service,
            family=4 if cell.family == 4 else 6,  # noqa: PLR2004 - IPv4
            wanted="allow" if cell.wanted == "allow" else "deny",
            packet_source=packet.source,
            packet_destination=packet.destination,
            packet_service=packet.service,
            path=[HopReport(machine=h.node, enters=h.iif, leaves=h.oif, rule=h.by) for h in packet.hops],
            note=packet.note,
        )
    ]


def _line(one: Violation) -> str:
    should = "should pass" if one.wanted == "allow" else "should not pass"
    path = "; ".join(f"{hop.machine} {hop.enters or '-'} to {hop.leaves or 'itself'}: {hop.rule}" for hop in one.path)
    return (
        f"{one.kind} {one.source} to {one.destination}, {one.service}, IPv{one.family}: {should}\n"
        f"    packet {one.packet_source} to {one.packet_destination} {one.packet_service}: {one.note}\n    {path}"
    )
