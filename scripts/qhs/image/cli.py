"""`qhs image`: what machines are made of."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from qhs.console import progress, screen
from qhs.environments import Environment
from qhs.image import build, lock, pool, recipe
from qhs.image.lock import Difference
from qhs.metal import disk
from qhs.metal import medium as medium_
from stacks.model import load

app = typer.Typer(help="The golden image that every machine is made of.", no_args_is_help=True)


@app.command()
def show(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """The image that `qhs up` takes: its digest, sizes, seconds by phase, and where it differs from the lock.

    Exit code 2: it was built from other versions than the lock says; 3: it is not built yet.
    """
    recipe_ = recipe.load()
    place = build.shelf() / f"machine-{recipe_.key(platform.machine())}"
    if not place.is_dir():
        raise typer.Exit(_not_built(place))
    report = build.Report.read(place / "build.json")
    found = lock.difference(recipe_.pins, lock.read(place / "packages.lock").values())
    if as_json:
        told = {**asdict(report), "bill": str(place / "bill.cdx.json"), "difference": asdict(found)}
        typer.echo(json.dumps(told, indent=1))
    else:
        screen.print(_report(place, report))
        if found:
            screen.print(table(found, f"other than {recipe_.lock.name} says", "built"))
    raise typer.Exit(2 if found.changed else 0)


@app.command("lock")
def lock_(
    newer: Annotated[bool, typer.Option("--newer", help="Take the newest versions, not those of the lock.")] = False,
) -> None:
    """Renew the lock for the packages of `packages.yaml`, and show what changes; `qhs up` then builds from it."""
    for recipe_ in (recipe.load(), recipe.metal()):
        renew(recipe_, recipe_.lock.name, newer)


@app.command()
def metal() -> None:
    """Make the disk image that machines of `prod` are installed from: the golden image, a kernel and a boot loader."""
    made = disk.ensure(progress)
    screen.print(_report(made.image.path.parent, build.Report.read(made.image.path.parent / "build.json")))
    screen.print(f"{made.path}: {made.bytes / 1e6:.0f} MB", soft_wrap=True)


@app.command()
def medium(
    machine: Annotated[str, typer.Argument(help="A machine of `prod` that hardware.yaml names.")],
    key: Annotated[Path, typer.Option(help="Your SSH key: it signs the medium, and opens the machine.")],
) -> None:
    """Make the medium that installs a machine. It holds the machine's host key: a secret until it is installed."""
    path = medium_.make(load(Environment.PROD), machine, key, progress)
    screen.print(f"{path}: {path.stat().st_size / 1e6:.0f} MB; then scripts/playbooks/metal.yml", soft_wrap=True)


def renew(recipe_: pool.Chosen, title: str, newer: bool) -> None:
    """Renew a lock, and show what changes."""
    before = recipe_.pins
    chosen = pool.look(recipe_, newer=newer, progress=progress)
    recipe_.keep(chosen)
    if found := lock.difference(before, chosen):
        screen.print(table(found, title, "now"))
    else:
        screen.print(f"{title}: {len(chosen)} packages, none of them newer")


def table(found: Difference, title: str, now: str) -> Table:
    """Old and new version of each package that differs."""
    rows = Table("package", "locked", now, title=title)
    for row in found.rows():
        rows.add_row(*row)
    return rows


def _report(place: Path, report: build.Report) -> Table:
    rows = Table("", "", title=f"image {report.key}", show_header=False)
    rows.add_row("digest", report.digest)
    rows.add_row("packages", f"{report.packages} of {report.suite}, {report.packages_bytes / 1e6:.0f} MB")
    rows.add_row("root", f"{report.root_bytes / 1e6:.0f} MB")
    rows.add_row("built in", ", ".join(f"{phase} {seconds} s" for phase, seconds in report.seconds.items()))
    rows.add_row("bill of materials", str(place / "bill.cdx.json"))
    return rows


def _not_built(place: Path) -> int:
    screen.print(f"not built yet: {place}; `qhs up` builds it")
    return 3
