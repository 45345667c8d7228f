"""The commands of `qhs twin` that break a twin on purpose, and mend it."""

import time
from collections.abc import Callable
from typing import Annotated

import typer

from qhs.console import progress
from qhs.twin import outage
from qhs.twin.names import Twin

app = typer.Typer()

Where = Annotated[str, typer.Argument(metavar="MACHINE|SITE", help="A machine, or all machines of a site.")]
Link = Annotated[
    str,
    typer.Argument(metavar="LINK|SITE", help="A bridge, MACHINE:leg, or a site: its wires to the other sites."),
]


@app.command("power-off")
def power_off(where: Where) -> None:
    """Cut the power of machines, over Redfish: nothing is saved, nothing said good-bye to."""
    _tell(where, "powered off", "off already", lambda twin: outage.power_off(twin, where))


@app.command("power-on")
def power_on(where: Where) -> None:
    """Give machines power again, over Redfish, and wait until they answer."""
    _tell(where, "powered on", "on already", lambda twin: outage.power_on(twin, where, progress))


@app.command()
def pause(where: Where) -> None:
    """Let machines stand still as hung ones do: wires up, no answer."""
    _tell(where, "paused", "paused already", lambda twin: outage.pause(twin, where))


@app.command()
def resume(where: Where) -> None:
    """Let paused machines go on."""
    _tell(where, "resumed", "not paused", lambda twin: outage.resume(twin, where))


@app.command()
def cut(link: Link) -> None:
    """Pull wires, until `heal` or `qhs up`."""
    _tell(link, "cut", "cut already", lambda twin: outage.cut(twin, link))


@app.command()
def heal(link: Link) -> None:
    """Put pulled wires back."""
    _tell(link, "healed", "whole already", lambda twin: outage.heal(twin, link))


def _tell(word: str, done: str, nothing: str, act: Callable[[Twin], list[str]]) -> None:
    started = time.monotonic()
    changed = act(Twin.here())
    seconds = f"{time.monotonic() - started:.1f} s"
    if not changed:
        typer.echo(f"{word}: {nothing}")
    elif changed == [word]:
        typer.echo(f"{word}: {done} ({seconds})")
    else:
        typer.echo(f"{word}: {done} ({seconds}): {', '.join(changed)}")
