"""`qhs bench`: how fast the running twin is, and what plans cost."""

from __future__ import annotations

from typing import Annotated

import typer

from policies import baseline
from qhs.bench import plan as planning
from qhs.bench import sign as signing
from qhs.console import complain, progress, show
from qhs.environments import Environment
from qhs.twin.names import Twin
from stacks.model import load

app = typer.Typer(help=__doc__, no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def sign(as_json: AsJson = False) -> None:
    """Signatures and time-stamps a second, and 95 % of answers within, by clients; beside them the bare device.

    Exit code 2: it is less than the baseline wants (C-SIG-03).
    """
    report = signing.bench(load(Environment.TWIN), Twin.here(), progress, baseline.load())
    show(report, as_json, signing.table(report))
    for text in report.short:
        complain(f"{signing.CONTROL}: {text}")
    raise typer.Exit(2 if report.short else 0)


@app.command()
def plan(
    times: Annotated[
        str, typer.Option("--times", help="How many times each application of the clusters stands in the catalogue.")
    ] = ",".join(map(str, planning.TIMES)),
    as_json: AsJson = False,
) -> None:
    """Time and memory that a plan of prod's signing, replica and cloud stacks takes, by how many tenants there are.

    Needs no twin. Exit code 2: either grows faster than the tenants.
    """
    report = planning.bench(planning.parsed(times), progress)
    show(report, as_json, planning.table(report))
    for text in report.faster:
        complain(text)
    raise typer.Exit(2 if report.faster else 0)
