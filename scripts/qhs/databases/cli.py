"""`qhs databases`: how the databases of each site stand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Literal

import typer
from pydantic import BaseModel, Field
from rich.live import Live
from rich.table import Table

from qhs.console import screen, show
from qhs.drill.ground import Database, Ground
from qhs.environments import Environment
from qhs.twin.names import Twin
from stacks.model import Estate, load
from stacks.model.data import may_lack_seconds, members

app = typer.Typer(help=__doc__, no_args_is_help=True)

AGAIN = 1.0
"""Seconds between two looks."""


class Stands(Database):
    """One machine's."""

    machine: str
    site: str
    behind: int = Field(default=0, description="bytes of log that it has not, of what takes writes")
    late: float | None = Field(
        default=0, description="seconds since the last change that it has, where it has not all; null: nobody knows"
    )


class DatabasesReport(BaseModel):
    """What `qhs databases status --json` prints."""

    environment: str
    machines: list[Stands]
    may: int = Field(description="seconds that a copy may be behind")
    code: Literal[0, 2, 3]


@app.callback()
def databases() -> None:
    """How the databases of each site stand."""


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    watch: Annotated[bool, typer.Option(help="Look again each second, until Ctrl-C.")] = False,
) -> None:
    """Who takes writes, and how far each copy is behind it.

    Exit codes: 2 not exactly one takes writes, or a copy does not stream or is further behind than it may be; 3 a
    machine does not say.
    """
    estate, twin = load(Environment.TWIN), Twin.here()
    if watch and not as_json:
        watched(estate, twin)
    report = found(estate, twin)
    show(report, as_json, table(report), line(report))
    raise typer.Exit(report.code)


def watched(estate: Estate, twin: Twin) -> None:
    """The table, until whoever looks at it has seen enough."""
    try:
        with Live(table(found(estate, twin)), console=screen, auto_refresh=False) as shown:
            while True:
                time.sleep(AGAIN)
                shown.update(table(found(estate, twin)), refresh=True)
    except KeyboardInterrupt:
        raise typer.Exit from None


def found(estate: Estate, twin: Twin) -> DatabasesReport:
    """As machines say now."""
    first, second = sorted(members(estate))
    ground = Ground(estate, twin, first, second)
    sites = {name: site for site in (first, second) for name in ground.machines(site)}
    # Asked at once, a copy would seem to be behind by what was written between two answers.
    end = max((one.position for one in ground.databases(first, second).values() if one.writable), default=0)
    return judged(estate.inventory.environment, ground.databases(first, second), sites, end, may_lack_seconds(estate))


def judged(
    environment: str, databases: Mapping[str, Database], sites: Mapping[str, str], end: int, may: int
) -> DatabasesReport:
    """What was found, with its exit code. `sites`: by machine. `end`: of the log that was there to be had."""
    machines = []
    for name, one in databases.items():
        behind = 0 if one.wrong else max(0, end - one.position)
        late = one.age if behind else 0.0
        machines.append(Stands(**one.model_dump(), machine=name, site=sites[name], behind=behind, late=late))
    silent = any(one.wrong for one in machines)
    amiss = [one for one in machines if not (one.wrong or one.writable or (one.streams and _within(one.late, may)))]
    writing = sum(one.writable for one in machines)
    return DatabasesReport(
        environment=environment,
        machines=machines,
        may=may,
        code=2 if amiss or writing > 1 or not (writing or silent) else 3 if silent else 0,
    )


def _within(late: float | None, may: int) -> bool:
    return late is not None and late <= may


def table(report: DatabasesReport) -> Table:
    """A line for each machine."""
    title = f"Databases of {report.environment}"
    rows = Table("machine", "site", "is", "timeline", "behind (bytes)", "behind (s)", "room (MiB)", title=title)
    for one in report.machines:
        if one.wrong:
            rows.add_row(one.machine, one.site, f"does not say: {one.wrong}")
            continue
        does = "takes writes" if one.writable else "follows" if one.streams else "follows nobody"
        late = "nobody knows" if one.late is None else f"{one.late:.1f}"
        numbers = (one.timeline, one.behind, late, one.free_mib)
        rows.add_row(one.machine, one.site, f"{one.role}, {does}", *map(str, numbers))
    return rows


def line(report: DatabasesReport) -> str:
    """How far the furthest copy is behind, for people."""
    writing = ", ".join(one.machine for one in report.machines if one.writable) or "nobody"
    if unknown := [one.machine for one in report.machines if one.late is None]:
        return f"{writing} takes writes; how far {', '.join(unknown)} is behind nobody knows (at most {report.may} s)"
    late = max((one.late or 0.0 for one in report.machines), default=0.0)
    return f"{writing} takes writes; no copy is more than {late:.1f} s behind (at most {report.may})"
