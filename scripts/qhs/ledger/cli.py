"""`qhs ledger`: what an outside client writes, reads and is refused, whatever becomes of a site."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import typer
from pydantic import BaseModel, Field
from rich.table import Table

from qhs.console import progress, show
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.ledger.book import Ledger
from qhs.ledger.report import LaneReport, LedgerReport
from qhs.twin.names import Twin
from stacks.model import Estate, load
from stacks.model.data import active, members

app = typer.Typer(help=__doc__, no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


class LedgersReport(BaseModel):
    """What `qhs ledger run --json` and `qhs ledger stop --json` print."""

    environment: str
    site: str = Field(description="in whose segment the client of the databases stood")
    clients: list[LedgerReport]
    code: Literal[0, 2]


@app.callback()
def ledger() -> None:
    """What an outside client writes, reads and is refused, whatever becomes of a site."""


@app.command()
def run(
    seconds: Annotated[int, typer.Option("--seconds", min=1, help="For how long.")] = 15,
    at: Annotated[str, typer.Option("--at", help="The site it stands at; else one that takes no writes.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write numbered rows 20 times a second and read them back, through the public names; say what became of them.

    Exit code 2: rows are lost, there twice, out of order or nobody's.
    """
    estate = load(Environment.TWIN)
    one = Ledger.start(Twin.here(), estate, chosen(estate, at), web=True)
    progress(f"ledger: writes for {seconds} s from {', '.join(part.place for part in one.parts)}")
    try:
        time.sleep(seconds)
    finally:
        reports = one.stop()
    tell(estate, one, reports, as_json)


@app.command()
def stop(at: Annotated[str, typer.Argument(help="The site that it was begun at.")], as_json: AsJson = False) -> None:
    """End a ledger whose run or drill was killed, and say what it came to. Exit codes as of `run`."""
    estate = load(Environment.TWIN)
    one = Ledger.found(Twin.here(), estate, chosen(estate, at))
    tell(estate, one, one.stop(), as_json)


def chosen(estate: Estate, at: str) -> str:
    """The site that a client stands at. Raises UserError where no databases are."""
    sites = list(members(estate))
    if at and at not in sites:
        raise UserError(f"found --at {at}; wanted a site with databases, {' or '.join(sites)}", f"--at {sites[0]}")
    return at or next((one for one in sites if one != active(estate)), sites[0])


def tell(estate: Estate, one: Ledger, reports: list[LedgerReport], as_json: bool) -> None:
    """And end by its code."""
    code: Literal[0, 2] = 0 if all(each.whole for each in reports) else 2
    report = LedgersReport(environment=estate.inventory.environment, site=one.site, clients=reports, code=code)
    show(report, as_json, table(report), *(text for each in reports for text in lines(each)))
    raise typer.Exit(report.code)


def table(report: LedgersReport) -> Table:
    """A line a way of asking."""
    rows = Table("run", "asked", "tries", "answered", "longest gap", "answered by", "else", title="Ledger")
    for each in report.clients:
        for lane in each.lanes:
            rows.add_row(each.run, lane.lane, str(lane.tries), str(lane.answered), *_found(lane))
    return rows


def _found(lane: LaneReport) -> tuple[str, str, str]:
    gap = f"{lane.gap.seconds:.2f} s{'' if lane.gap.over else ', not over'}"
    return gap, " ".join(one.site for one in lane.spans), ", ".join(f"{n} {kind}" for kind, n in lane.wrong.items())


def lines(report: LedgerReport) -> list[str]:
    """The numbers of rows that are not as they were acknowledged."""
    kinds = ("lost", "duplicate", "reordered", "unknown")
    found = {kind: getattr(report, kind) for kind in kinds}
    return [f"{report.run}: {kind}: {', '.join(map(str, numbers))}" for kind, numbers in found.items() if numbers]
