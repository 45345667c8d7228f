"""`qhs images`: what runs in the private cloud."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from qhs.console import progress, screen
from qhs.containers import Built, ensure, recipe
from qhs.image.cli import renew

app = typer.Typer(help="The container images of the private cloud.", no_args_is_help=True)
Names = Annotated[list[str] | None, typer.Argument(help="Images; all of them when none is named.", show_default=False)]


@app.command()
def build(names: Names = None, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Build images where the cache lacks them, and show the digest of each."""
    built = [ensure(name, progress) for name in names or recipe.names()]
    if as_json:
        typer.echo(
            json.dumps([{**asdict(one.report), "layout": str(one.layout), "bill": str(one.bill)} for one in built])
        )
    else:
        screen.print(_table(built))


@app.command("lock")
def lock_(
    names: Names = None,
    newer: Annotated[bool, typer.Option("--newer", help="Take the newest versions, not those of the lock.")] = False,
) -> None:
    """Renew the locks of images, and show what changes."""
    for name in names or recipe.names():
        renew(recipe.load(name), name, newer)


def _table(built: list[Built]) -> Table:
    rows = Table("image", "digest", "packages", "kB")
    for one in built:
        rows.add_row(one.report.name, one.report.digest, str(one.report.packages), f"{one.report.bytes / 1000:.0f}")
    return rows
