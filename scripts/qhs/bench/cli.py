"""`qhs bench`: how fast the running twin is."""

from __future__ import annotations

from typing import Annotated

import typer

from policies import baseline
from qhs.bench import sign as signing
from qhs.console import complain, progress, show
from qhs.environments import Environment
from qhs.twin.names import Twin
from stacks.model import load

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Without it typer would take the one command for the program itself."""


@app.command()
def sign(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Signatures and time-stamps a second, and 95 % of answers within, by clients; beside them the bare device.

    Exit code 2: it is less than the baseline wants (C-SIG-03).
    """
    report = signing.bench(load(Environment.TWIN), Twin.here(), progress, baseline.load())
    show(report, as_json, signing.table(report))
    for text in report.short:
        complain(f"{signing.CONTROL}: {text}")
    raise typer.Exit(2 if report.short else 0)
