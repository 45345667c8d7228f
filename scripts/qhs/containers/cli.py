"""`qhs images`: what runs in the private cloud."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from pydantic import BaseModel, Field
from rich.markup import escape
from rich.table import Table

from qhs.console import progress, screen, show
from qhs.containers import Built, ensure, promotion, recipe
from qhs.containers.build import made
from qhs.environments import Environment
from qhs.image.cli import renew
from qhs.twin.names import Twin
from stacks.model import Estate, load

app = typer.Typer(help="The container images of the private cloud.", no_args_is_help=True)
Names = Annotated[list[str] | None, typer.Argument(help="Images; all of them when none is named.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


class Kept(BaseModel):
    """Whether a registry has an image, and beside it its bill of materials and a signature for both."""

    image: str
    digest: str
    site: str
    is_there: bool = Field(description="by its digest, computed anew of what the registry has")


class Verified(BaseModel):
    """An image that a registry has."""

    site: str
    image: str
    digest: str = Field(description="empty: the registry tells of no digest")
    fault: str = Field(description="what was found and wanted; empty: it is signed, with its bill of materials")


class VerifiedReport(BaseModel):
    """What `qhs images verify --json` prints."""

    environment: str
    images: list[Verified]
    code: Literal[0, 2]


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
    """Renew the locks of images and write down their digests, and show what changes."""
    for name in names or recipe.names():
        found = recipe.load(name)
        renew(found, name, newer)
        found.keep_digest(made(found, progress).report.digest)


@app.command()
def promote(names: Names = None) -> None:
    """Have the registry of every centre of the running twin hold images and their bills of materials, signed.

    An image is copied by its digest, and only where it is not there yet; the centre's signer signs what has no good
    signature. It counts once it has been fetched back and verified. An interrupted run is gone on with.
    """
    for there, one, done in promotion.promote(Twin.here(), _estate(), names or recipe.names(), progress):
        how = ", ".join(done) or "there already, signed"
        progress(f"{there.site}: {one.report.name}@{one.report.digest}: {how}")


@app.command()
def status(names: Names = None, as_json: AsJson = False) -> None:
    """Which images the registry of every centre of the running twin has. Exit code 2: one lacks some."""
    built, found = _built(names), []
    for there in promotion.registries(Twin.here(), _estate()):
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


@app.command()
def verify(as_json: AsJson = False) -> None:
    """What the registries of the running twin have, and whether it is signed. Exit code 2: not all is, or is known.

    A registry tells of no image that was brought by its digest alone under a name of ours, without bill and signature;
    only the image that our recipe gives is looked for by its digest.
    """
    found = [
        Verified(site=one.site, image=one.name, digest=one.digest, fault=one.fault)
        for one in promotion.found(Twin.here(), _estate())
    ]
    code: Literal[0, 2] = 2 if any(one.fault for one in found) else 0
    rows = Table("site", "image", "digest", "signed")
    for one in found:
        rows.add_row(one.site, one.image, one.digest, escape(one.fault) or "yes")
    rows.caption = "`qhs images promote` signs what has a recipe; take out what has none" if code else None
    show(VerifiedReport(environment=Environment.TWIN, images=found, code=code), as_json, rows)
    raise typer.Exit(code)


def _built(names: list[str] | None) -> list[Built]:
    return [ensure(name, progress) for name in names or recipe.names()]


def _estate() -> Estate:
    return load(Environment.TWIN)


def _table(built: list[Built]) -> Table:
    rows = Table("image", "digest", "packages", "kB")
    for one in built:
        rows.add_row(one.report.name, one.report.digest, str(one.report.packages), f"{one.report.bytes / 1000:.0f}")
    return rows
