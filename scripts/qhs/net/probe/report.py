"""What packets showed, as people and programs read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field
from rich.console import Group
from rich.table import Table

from qhs.net.probe.agree import KINDS, Paper, disagreements, unplaced
from qhs.net.probe.packets import Fate
from qhs.net.probe.run import Result
from stacks.model import Estate

SHOWN = 10  # lines of a kind on the terminal


class PacketReport(BaseModel):
    """A packet and its fate."""

    source: str
    sender: str = Field(description="the machine, client or stand that it came from")
    destination: str
    service: str
    address: str
    packet: str = Field(description="protocol/port; `icmp` for an echo")
    flow: str | None = Field(description="what allows it; null: nothing, so it must not get through")
    fate: Fate
    as_wanted: bool


class ProbeReport(BaseModel):
    """What `qhs net probe --json` prints."""

    environment: str
    at: datetime
    proved: int = Field(description="cells between places that are decided on paper")
    probed: int = Field(description="of these, cells that packets were sent for")
    unplaced: dict[str, int] = Field(description="of these, cells without a place in the twin, by the reason")
    firewalls: int = Field(description="cells beside these: a firewall itself as the destination")
    packets: list[PacketReport]
    wrong: list[str] = Field(description="packets whose fate the catalogue does not say")
    disagreements: list[str] = Field(description="packets whose fate paper does not say, with the rule that decides")
    missing: list[str] = Field(description="machines whose rules could not be had; then nothing is compared")
    send_seconds: float
    prove_seconds: float
    code: Literal[0, 2, 3]


@dataclass(frozen=True)
class Sent:
    """Packets with their fates."""

    results: Sequence[Result]
    seconds: float
    sample: bool


def report(estate: Estate, at: datetime, sent: Sent, paper: Paper) -> ProbeReport:
    """The packets of an estate as data."""
    cells = {one.probe.cell for one in sent.results}
    firewalls = {one.probe.cell for one in sent.results if one.probe.is_for_firewall}
    wrong = [str(one) for one in sent.results if not one.as_wanted]
    odd = [str(one) for one in disagreements(paper.judge, paper.proof, sent.results)] if paper.judge else []
    return ProbeReport(
        environment=estate.inventory.environment,
        at=at,
        proved=sum(one.kind in KINDS for one in paper.proof.cells),
        probed=len(cells - firewalls),
        unplaced={} if sent.sample or not paper.judge else dict(unplaced(estate, paper.judge, paper.proof, cells)),
        firewalls=len(firewalls),
        packets=[packet(one) for one in sent.results],
        wrong=wrong,
        disagreements=odd,
        missing=list(paper.proof.missing),
        send_seconds=sent.seconds,
        prove_seconds=paper.seconds,
        code=2 if wrong or odd else 3 if paper.proof.missing else 0,
    )


def packet(result: Result) -> PacketReport:
    """A result for programs to read."""
    probe = result.probe
    return PacketReport(
        source=probe.source.place,
        sender=probe.source.name,
        destination=probe.target.place,
        service=probe.target.service,
        address=probe.address,
        packet=probe.packet,
        flow=probe.allowed_by,
        fate=result.fate,
        as_wanted=result.as_wanted,
    )


def table(done: ProbeReport) -> Group:
    """Counts for a terminal, then the first packets that are not as wanted, or not as on paper."""
    shown = Table("packets", "wanted", *(fate.value for fate in Fate), title=counted(done))
    fates: dict[tuple[str, str], Counter[Fate]] = {}
    for one in done.packets:
        protocol = f"{one.packet.partition('/')[0]}, IPv{6 if ':' in one.address else 4}"
        fates.setdefault((protocol, "open" if one.flow else "stopped"), Counter())[one.fate] += 1
    for (protocol, wanted), found in sorted(fates.items()):
        shown.add_row(protocol, wanted, *(str(found[fate] or "") for fate in Fate))
    lines = [f"{count} cells have no place in the twin: {reason}" for reason, count in done.unplaced.items()]
    for title, found_ in (("wrong", done.wrong), ("paper and packet disagree", done.disagreements)):
        lines += [f"{title}: {line}" for line in found_[:SHOWN]]
        if len(found_) > SHOWN:
            lines.append(f"... and {len(found_) - SHOWN} more: see --json")
    if done.missing:
        lines.append(f"not compared with paper, no rules from: {', '.join(done.missing)}")
    return Group(shown, *lines)


def counted(done: ProbeReport) -> str:
    """The counts in one line."""
    rate = f"{len(done.packets)} packets in {done.send_seconds:.1f} s, paper in {done.prove_seconds:.1f} s"
    without = sum(done.unplaced.values())
    left = f", {without} without a place in the twin" if without else ""
    return f"{done.proved} cells proved, {done.probed} probed{left}; {done.firewalls} of firewalls themselves; {rate}"
