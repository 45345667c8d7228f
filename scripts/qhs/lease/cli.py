"""`qhs lease`: which site is active, and who agrees on that."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer
from pydantic import BaseModel, Field
from rich.table import Table

from qhs.console import show
from qhs.environments import Environment
from qhs.lease import choose as choosing
from qhs.twin.asking import Answer, ask
from qhs.twin.names import Twin
from stacks.model import Estate, load
from stacks.model.estate import LEASE

app = typer.Typer(help=__doc__, no_args_is_help=True)

PROGRAM = choosing.PROGRAM


class Member(BaseModel):
    """One of those that agree."""

    machine: str
    site: str
    wrong: str = Field(description="why it does not answer; empty: it does")


class LeaseReport(BaseModel):
    """What `qhs lease status --json` prints."""

    environment: str
    active: str = Field(description="the site that may take writes; empty: none")
    chosen: str = Field(description="the site that is to take writes, and alone can have the lease")
    since: str = Field(description="when it took the lease, in UTC")
    seconds: int = Field(description="for how long it is good unless it is renewed")
    agreed: bool = Field(description="whether a majority of the members says so; else nobody knows")
    members: list[Member]
    code: Literal[0, 2, 3]


class Standing(BaseModel):
    """What a member says; of the lease nothing where no majority does."""

    wrong: str
    active: str | None = None
    chosen: str = ""
    since: str = ""
    seconds: int = 0


@app.callback()
def lease() -> None:
    """Which site is active, and who agrees on that."""


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Which site has the lease, since when and for how long. Exit codes: 2 none has it, 3 a member does not answer."""
    report = stands(Twin.here(), load(Environment.TWIN))
    show(report, as_json, table(report), line(report))
    raise typer.Exit(report.code)


@app.command()
def choose(
    site: Annotated[str, typer.Argument(help="The site that is to take writes.")],
    instead_of: Annotated[str, typer.Option(help="The one chosen now; where it is another one, nothing changes.")],
) -> None:
    """Have another site take writes, by hand: `qhs drill` looks first, and says afterwards what it cost.

    Never do two sites take writes, but where the other one does not answer, what it wrote last is lost; a site whose
    databases are off (`qhs databases status`) comes back without what the other one has written since.
    """
    choosing.choose(Twin.here(), load(Environment.TWIN), site, instead_of)
    typer.echo(f"{site} is chosen; `qhs lease status` says when it has the lease")


def stands(twin: Twin, estate: Estate) -> LeaseReport:
    """Asks all members at once."""
    holding = [name for name, machine in estate.machines.items() if LEASE in machine.roles]
    return judged(estate, ask(twin, PROGRAM.read_text(), {name: ["status"] for name in holding}))


def judged(estate: Estate, answers: dict[str, Answer]) -> LeaseReport:
    """What the answers of the members come to: each that says anything of the lease says what most of them do."""
    found = {
        name: Standing(wrong=one.missing) if one.missing else Standing(**json.loads(one.said))
        for name, one in answers.items()
    }
    known = next((one for one in found.values() if one.active is not None), None)
    said = known or Standing(wrong="")
    silent = known is None or any(one.wrong for one in found.values())
    return LeaseReport(
        environment=estate.inventory.environment,
        active=said.active or "",
        chosen=said.chosen,
        since=said.since,
        seconds=said.seconds,
        agreed=known is not None,
        members=[Member(machine=name, site=estate.machines[name].site, wrong=one.wrong) for name, one in found.items()],
        code=2 if known and not known.active else 3 if silent else 0,
    )


def table(report: LeaseReport) -> Table:
    """A line a member."""
    rows = Table("machine", "site", "answers", title=f"Members of the lease of {report.environment}")
    for one in report.members:
        rows.add_row(one.machine, one.site, one.wrong or "yes")
    return rows


def line(report: LeaseReport) -> str:
    """Who has it, for people."""
    if not report.agreed:
        return "no majority of the members answers: nobody can say which site has the lease, or renew it"
    if not report.active:
        return f"no site has the lease; {report.chosen or 'none'} is chosen, and alone can have it"
    return f"{report.active} has the lease since {report.since}, for {report.seconds} s unless it is renewed"
