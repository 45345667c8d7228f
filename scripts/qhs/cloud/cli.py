"""`qhs cloud`: what runs in the clusters of the private cloud."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from qhs.cloud import reach as reach_
from qhs.cloud import restore as restore_
from qhs.cloud import status as status_
from qhs.cloud import upgrade as upgrade_
from qhs.console import progress, show
from qhs.environments import Environment
from qhs.twin.names import Twin
from qhs.up import alone
from stacks.model import load

app = typer.Typer(help=__doc__, no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
WIDE = 200
"""Characters in a line of the page."""


@app.command()
def status(
    as_json: AsJson = False,
    page: Annotated[Path | None, typer.Option(help="Write the table there too, as a page.", show_default=False)] = None,
) -> None:
    """What each application of the running twin has at its sites, as its own canary finds it, against the model.

    Exit code 2: something is not as the model says; 3: a cluster cannot be asked.
    """
    estate = load(Environment.TWIN)
    report = status_.status(estate, Twin.here())
    rows = status_.table(estate, report)
    if page:
        paper = Console(record=True, file=StringIO(), width=WIDE, emoji=False)  # a quiet one records nothing
        paper.print(rows, markup=False)
        paper.save_html(str(page))
    show(report, as_json, rows, *(f"{site}: {why}" for site, why in report.silent.items()), _line(report))
    raise typer.Exit(report.code)


@app.command()
def reach(as_json: AsJson = False) -> None:
    """Every application of the running twin tries every service and every other application, against the model.

    Exit code 2: something answers that should not, or an own part does not; 3: a cluster cannot be asked.
    """
    report = reach_.reach(load(Environment.TWIN), Twin.here())
    show(report, as_json, reach_.table(report), *(f"{who}: {why}" for who, why in report.silent.items()))
    raise typer.Exit(report.code)


@app.command()
def restore(
    site: Annotated[str, typer.Argument(help="Whose cluster.")],
    snapshot: Annotated[str, typer.Option(help="Its name on a control plane; the newest.", show_default=False)] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have the cluster of a site as a snapshot of its store has it: what was declared since is gone from it.

    A snapshot that does not verify changes nothing. What was before is kept until the new store and the API are well.
    Exit code 2: they are, and something else of the cluster is not; `qhs up` puts right what is declared.
    """
    twin, estate = Twin.here(), load(Environment.TWIN)
    there = restore_.store(estate, twin, site)
    chosen = there.named(snapshot) if snapshot else there.newest()
    if not yes:
        typer.confirm(restore_.warning(there, chosen), abort=True)
    with alone(twin):
        report = restore_.restore(estate, twin, there, chosen, progress)
    rows = Table("site", "snapshot", "taken", "revision", "gate", "found")
    rows.add_row(site, report.snapshot, f"{report.taken:%F %T}", str(report.revision), report.gate or "-", report.found)
    show(report, as_json, rows)
    raise typer.Exit(report.code)


@app.command()
def upgrade(
    site: Annotated[str, typer.Argument(help="Whose control plane.")],
    to: Annotated[str, typer.Option(help="The version, one minor version ahead at most.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Have the control plane of a site on another version, part by part; at a gate that stays closed it goes back.

    Cut off, the same command goes on with it. Exit code 2: it went back, to the programs and the store of before.
    """
    twin, estate = Twin.here(), load(Environment.TWIN)
    plane = upgrade_.ControlPlane(estate, twin, restore_.store(estate, twin, site))
    with alone(twin):
        report = upgrade_.upgrade(plane, to, progress)
    show(report, as_json, upgrade_.table(report), upgrade_.line(report))
    raise typer.Exit(report.code)


def _line(report: status_.CloudReport) -> str:
    wrong = sum(1 for one in report.checks if not one.as_wanted)
    return f"{len(report.checks)} checks, {wrong} not as the model says"
