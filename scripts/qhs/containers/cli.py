"""`qhs images`: what runs in the private cloud."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Annotated, Literal

import typer
from pydantic import BaseModel, Field
from rich.table import Table

from qhs import ruleset_access
from qhs.console import progress, screen, show
from qhs.containers import Built, ensure, recipe
from qhs.containers.registry import Registry
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.image.cli import renew
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import images, load
from stacks.provider.carried import Carried

app = typer.Typer(help="The container images of the private cloud.", no_args_is_help=True)
Names = Annotated[list[str] | None, typer.Argument(help="Images; all of them when none is named.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


class Kept(BaseModel):
    """Whether a registry has an image, with its bill of materials beside it."""

    image: str
    digest: str
    site: str
    is_there: bool = Field(description="by its digest, computed anew of what the registry has")


class ImagesReport(BaseModel):
    """What `qhs images status --json` prints."""

    environment: str
    images: list[Kept]
    code: Literal[0, 2]


@app.command()
def build(names: Names = None, as_json: AsJson = False) -> None:
    """Build images where the cache lacks them, and show the digest of each."""
    built = _built(names)
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


@app.command()
def promote(names: Names = None) -> None:
    """Have the registry of every centre of the running twin hold images and their bills of materials.

    An image is copied by its digest, and only where it is not there yet; an interrupted run is gone on with.
    """
    built = _built(names)
    for there in _registries():
        with there:
            for one in built:
                how = "copied" if there.promote(one) else "there already, nothing to copy"
                progress(f"{there.site}: {one.report.name}@{one.report.digest}: {how}")


@app.command()
def status(names: Names = None, as_json: AsJson = False) -> None:
    """Which images the registry of every centre of the running twin has. Exit code 2: one lacks some."""
    built, found = _built(names), []
    for there in _registries():
        with there:
            found += [
                Kept(image=one.report.name, digest=one.report.digest, site=there.site, is_there=there.complete(one))
                for one in built
            ]
    code: Literal[0, 2] = 0 if all(one.is_there for one in found) else 2
    report = ImagesReport(environment=Environment.TWIN, images=found, code=code)
    rows = Table("image", "digest", "site", "is there")
    for one in found:
        rows.add_row(one.image, one.digest, one.site, "yes" if one.is_there else "no: `qhs images promote`")
    show(report, as_json, rows)
    raise typer.Exit(code)


def _built(names: list[str] | None) -> list[Built]:
    return [ensure(name, progress) for name in names or recipe.names()]


def _registries() -> Iterator[Registry]:
    """Of the running twin; each is spoken to by a user of its machine who can do nothing else there."""
    twin, found = Twin.here(), images.registries(load(Environment.TWIN))
    if not found:
        raise UserError("the estate has no registry", f"let a machine hold the service {images.REGISTRY}")
    config, within = ruleset_access.write(twin), inside.command(twin, [])
    for site, one in found.items():
        yield Registry(site, one.machine, partial(Carried.talking, config, images.USER, one.machine, "speak", within))


def _table(built: list[Built]) -> Table:
    rows = Table("image", "digest", "packages", "kB")
    for one in built:
        rows.add_row(one.report.name, one.report.digest, str(one.report.packages), f"{one.report.bytes / 1000:.0f}")
    return rows
