"""`qhs objects`: applications' objects at every site that keeps them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from pydantic import BaseModel
from rich.table import Table

from qhs.console import show
from qhs.environments import Environment
from qhs.objects import alike
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.object_sync import may_seconds

app = typer.Typer(help=__doc__, no_args_is_help=True)


class ObjectsReport(BaseModel):
    """What `qhs objects status --json` prints."""

    environment: str
    behind: list[alike.Behind]
    may: int
    """Seconds that a site may be behind."""
    differences: list[alike.Difference] | None
    """None: a site does not answer, so nobody can say."""
    code: Literal[0, 2, 3]


@app.callback()
def objects() -> None:
    """Applications' objects at every site that keeps them."""


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """How far one site is behind the other, and what only one of them has.

    Exit codes: 2 they differ, or one is further behind than it may be; 3 a site does not say.
    """
    estate, twin = load(Environment.TWIN), Twin.here()
    behind = alike.lag(twin, estate)
    differ = None if any(one.missing for one in behind) else alike.contents(twin, estate)
    report = judged(estate.inventory.environment, behind, may_seconds(estate), differ)
    show(report, as_json, table(report), line(report))
    raise typer.Exit(report.code)


def judged(
    environment: str, behind: list[alike.Behind], may: int, differences: list[alike.Difference] | None
) -> ObjectsReport:
    """What was found, with its exit code."""
    late = any(one.lag is not None and one.lag > may for one in behind)
    silent = any(one.missing or one.wrong or not one.holder for one in behind)
    return ObjectsReport(
        environment=environment,
        behind=behind,
        may=may,
        differences=differences,
        code=2 if differences or late else 3 if silent else 0,
    )


def table(report: ObjectsReport) -> Table:
    """A line for each version that differs."""
    sites = [one.site for one in report.behind]
    rows = Table("bucket", "object", "version", *sites, title=f"Differing objects of {report.environment}")
    for one in report.differences or ():
        rows.add_row(one.bucket, one.key, one.version, *(one.found.get(site, "") for site in sites))
    return rows


def line(report: ObjectsReport) -> str:
    """How each site stands, for people."""
    said = []
    for one in report.behind:
        if one.missing or one.wrong:
            said.append(f"{one.site} does not say: {one.missing or one.wrong}")
        elif not one.holder:
            said.append(f"{one.site} does not know who has the lease")
        elif one.lag is None:
            said.append(f"{one.site} has the lease")
        else:
            said.append(f"{one.site} is {one.lag} s behind {one.holder} (at most {report.may})")
    found = report.differences
    same = "nobody can say whether they hold the same" if found is None else f"{len(found)} versions differ"
    return f"{'; '.join(said)}; {same if found != [] else 'they hold the same'}"
