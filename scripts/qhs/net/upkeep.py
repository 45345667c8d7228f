"""`qhs net report`: what the owners of flows should look at again (T-F12, T-F14).

Rules that decide nothing, flows that let no packet through, what staged flows would have blocked, expiries and reviews
that are near. Flows are redundant by design sometimes: whether one goes is its owner's decision, so nothing here is a
fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field
from rich.console import Group
from rich.table import Table

from qhs.net.needless import Standing, standings
from qhs.net.prove.reader import read
from stacks.model import Estate
from stacks.model.catalogue import Flow
from stacks.model.checks import SOON
from stacks.provider.ruleset.nft import CHAINS, FAMILY, TABLE

NEVER = timedelta(days=90)
"""A flow of which no packet was seen for so long is told as one that nobody uses."""


class Needless(BaseModel):
    """The rules of one flow in one chain of a machine, or of a pair, that decide nothing there."""

    machine: str
    chain: str
    kind: Literal["shadowed", "redundant"] = Field(
        description="shadowed: no packet gets as far; redundant: what gets there passes further down as well"
    )
    rules: int
    of: int = Field(description="rules that the flow has in this chain")
    by: list[str] = Field(description="flows and guards that decide about its packets")


class FlowUpkeep(BaseModel):
    """One flow, and what there is to be said about it."""

    flow: str
    owner: str
    rules: int = Field(description="on all machines that are looked at")
    packets: int | None = Field(None, description="first packets of conversations that it let through since then")
    since: datetime | None = Field(None, description="counted by all machines that have rules of it: their last boot")
    unused: bool = Field(False, description="none for 90 days")
    staged: bool = Field(False, description="what it lets through is logged, and will be blocked")
    needless: list[Needless]
    due: str | None = Field(None, description="an expiry or a review that is near or over")

    @property
    def notable(self) -> bool:
        """Whether there is more to say than how many packets it has let through."""
        return bool(self.needless or self.due or self.unused or self.staged)


class Upkeep(BaseModel):
    """What `qhs net report --json` prints."""

    environment: str
    at: datetime
    flows: list[FlowUpkeep]
    missing: list[str] = Field(description="machines whose rules could not be had: the report is incomplete")
    code: Literal[0, 3]


def upkeep(
    estate: Estate, listings: Mapping[str, Any], now: datetime, booted: Mapping[str, datetime] | None = None
) -> Upkeep:
    """The report of an estate; `listings` is `nft -j list ruleset` by machine, whose counters count since it `booted`.

    Planned rules count nothing. Raises NotUnderstoodError.
    """
    found = [one for name, listing in _distinct(listings).items() for one in _chains(name, listing, now)]
    counted = {name: _packets(listing) for name, listing in listings.items()} if booted else {}
    missing = [
        one.name for one in estate.machines.values() if one.site in estate.active_sites and one.name not in listings
    ]
    flows = []
    for name, flow in estate.catalogue.flows.items():
        own = [one for one in found if one.flow == name]
        holders = [machine for machine, packets in counted.items() if name in packets]
        since = max((booted[machine] for machine in holders), default=None) if booted else None
        packets = sum(counted[machine][name] for machine in holders)
        flows.append(
            FlowUpkeep(
                flow=name,
                owner=flow.owner,
                rules=sum(len(one.standings) for one in own),
                packets=packets if since else None,
                since=since,
                unused=since is not None and packets == 0 and now - since >= NEVER,
                staged=flow.staged,
                needless=[needless for one in own for needless in one.needless()],
                due=_due(flow, now),
            )
        )
    return Upkeep(
        environment=estate.inventory.environment, at=now, flows=flows, missing=missing, code=3 if missing else 0
    )


@dataclass(frozen=True)
class _OfChain:
    """The rules of one flow in one chain of a machine."""

    machine: str
    chain: str
    flow: str
    standings: tuple[Standing, ...]

    def needless(self) -> Iterator[Needless]:
        for kind in ("shadowed", "redundant"):
            ours = [one for one in self.standings if one.kind == kind]
            if ours:
                yield Needless(
                    machine=self.machine,
                    chain=self.chain,
                    kind=kind,
                    rules=len(ours),
                    of=len(self.standings),
                    by=sorted({by for one in ours for by in one.by}),
                )


def _distinct(listings: Mapping[str, Any]) -> dict[str, Any]:
    """Planned rules of a pair's members are one listing: it is looked at once."""
    return dict({id(listing): (name, listing) for name, listing in listings.items()}.values())


def _chains(machine: str, listing: Any, now: datetime) -> Iterator[_OfChain]:
    chains = read(listing, machine).at(now).chains
    for chain in CHAINS:
        if own := chains.get(f"{FAMILY} {TABLE} {chain}"):
            by_flow: dict[str, list[Standing]] = {}
            for one in standings(own):
                by_flow.setdefault(one.rule.label, []).append(one)
            for flow, found in by_flow.items():
                yield _OfChain(machine, chain, flow, tuple(found))


def _packets(listing: Any) -> Counter[str]:
    """What the rules of each flow have counted."""
    counted: Counter[str] = Counter()
    for rule in (item["rule"] for item in listing["nftables"] if "rule" in item):
        for expression in rule["expr"]:
            if "counter" in expression:
                counted[rule.get("comment", "")] += expression["counter"]["packets"]
    return counted


def _due(flow: Flow, now: datetime) -> str | None:
    if flow.expires is not None:
        if flow.expired(now):
            return f"expired on {flow.expires:%d/%m/%Y}"
        return f"expires on {flow.expires:%d/%m/%Y}" if flow.expires - now < SOON else None
    return f"to be reviewed by {flow.review:%d/%m/%Y}" if flow.review - now.date() < SOON else None


def table(done: Upkeep) -> Group:
    """The report for a terminal: the flows that there is something to be said about."""
    rows = Table("flow", "owner", "rules", "to look at", title=f"{done.environment}: flows to look at")
    for one in done.flows:
        if one.notable:
            rows.add_row(one.flow, one.owner, str(one.rules), "\n".join(_told(one)))
    lines = [f"{len(done.flows)} flows, {sum(one.rules for one in done.flows)} rules"]
    if quiet := [one for one in done.flows if one.packets == 0 and not one.unused]:
        began = min(one.since for one in quiet if one.since)
        names = ", ".join(one.flow for one in quiet)
        lines.append(f"no packet yet for {len(quiet)}, counted since {began:%d/%m/%Y} at the earliest: {names}")
    if done.missing:
        lines.append(f"incomplete, no rules from: {', '.join(done.missing)}")
    return Group(rows, *lines)


def _told(one: FlowUpkeep) -> Iterator[str]:
    if one.due:
        yield one.due
    if one.unused:
        yield f"no packet since {one.since:%d/%m/%Y}"
    if one.staged and one.packets is None:
        yield "staged: --live tells what it would block"
    elif one.staged:
        yield f"staged: {one.packets} conversations since {one.since:%d/%m/%Y} would be blocked"
    for what in one.needless:
        yield f"{what.rules} of {what.of} {what.kind} at {what.machine} by {', '.join(what.by)}"
