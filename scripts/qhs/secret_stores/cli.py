"""`qhs secrets`: the secret stores of the sites, and what each is restored from."""

from __future__ import annotations

from typing import Annotated

import typer

from qhs.console import complain, progress
from qhs.environments import Environment
from qhs.secret_stores import snapshots
from qhs.twin.names import Twin
from qhs.up import alone
from stacks.model import load

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
def snapshot() -> None:
    """Have a snapshot of every store at the other sites, as `qhs up` does after changes. Exit code 3: not all."""
    twin = Twin.here()
    with alone(twin):
        lacking = snapshots.take(load(Environment.TWIN), twin, progress)
    for text in lacking:
        complain(text)
    raise typer.Exit(3 if lacking else 0)


@app.command()
def restore(site: Annotated[str, typer.Argument(help="Whose nodes all lost their disks.")]) -> None:
    """Give a new store what the old one of its site held, from the newest snapshot; an HSM of the site opens it."""
    twin = Twin.here()
    with alone(twin):
        snapshots.restore(load(Environment.TWIN), twin, site, progress)
