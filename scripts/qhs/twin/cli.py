"""`qhs twin`: look at the twin and go into it."""

import json
import os
import shlex
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from qhs.console import screen
from qhs.errors import UserError
from qhs.twin import access, console, inside, lifecycle, links, outage_cli, wires
from qhs.twin.names import Twin
from qhs.twin.standing import Standing

SHOWN = 6
"""Addresses of a machine in the table."""

app = typer.Typer(help="The estate on this machine.", no_args_is_help=True)
app.add_typer(outage_cli.app)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Machines and clients: state, seconds to boot, memory, processor time, addresses; cut wires.

    Exit code 2 while a machine is not running or a wire is cut, or there is no twin.
    """
    twin = Twin.here()
    machines = lifecycle.status(twin)
    there, clients = wires.namespaces(twin)
    cut = links.cuts(twin)
    if as_json:
        told = {
            "twin": twin.name,
            "up": there,
            "machines": [asdict(it) for it in machines],
            "clients": clients,
            "cut": sorted(cut),
        }
        typer.echo(json.dumps(told, indent=2))
    else:
        _show(twin, machines, clients, links.told(Standing.load(twin).topology, cut) if cut else [])
    if not there or cut or any(it.state != "running" for it in machines):
        raise typer.Exit(2)


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    place: Annotated[str, typer.Argument(help="A machine or a client.")],
    command: Annotated[list[str], typer.Argument(help="What to run there, after --.")],
) -> None:
    """Run a command on a machine (over SSH) or in a client's namespace; its exit code is ours."""
    twin = Twin.here()
    if place in wires.namespaces(twin)[1]:
        argv = inside.command(twin, command, client=place)
    elif place in twin.machines():
        argv = inside.command(twin, ["ssh", "-F", str(access.config(twin)), place, shlex.join(command)])
    else:
        known = ", ".join([*twin.machines(), *wires.namespaces(twin)[1]]) or "none: it is not up"
        raise UserError(f"twin {twin.name} has no {place}; it has {known}", "qhs twin status")
    os.execvp(argv[0], argv)  # noqa: S606 -- the command replaces us, so that signals and its exit code pass


@app.command("console", context_settings={"ignore_unknown_options": True})
def console_(
    machine: Annotated[str, typer.Argument(help="A machine, of the state-secret enclave too.")],
    command: Annotated[list[str] | None, typer.Argument(help="Run this instead of a shell, after --.")] = None,
) -> None:
    """Sit down at a machine as root, without any network; the exit code is the shell's."""
    argv = console.command(Twin.here(), machine, command or [])
    os.execvpe(argv[0], argv, console.ENVIRONMENT)  # noqa: S606 -- as above


def _show(twin: Twin, machines: list[lifecycle.MachineStatus], clients: list[str], cut: list[str]) -> None:
    table = Table("machine", "state", "boot", "memory", "processor", "addresses", title=f"twin {twin.name}")
    for it in machines:
        table.add_row(
            it.name,
            it.state,
            "" if it.boot_seconds is None else f"{it.boot_seconds:.1f} s",
            "" if it.memory_bytes is None else f"{it.memory_bytes / 1e6:.0f} MB",
            "" if it.cpu_seconds is None else f"{it.cpu_seconds:.1f} s",
            _short(it.addresses),
        )
    screen.print(table)
    screen.print(f"clients: {', '.join(clients) or 'none'}")
    if cut:
        screen.print(f"cut: {', '.join(cut)}")


def _short(addresses: tuple[str, ...]) -> str:
    """A firewall has dozens: the table shows some, the JSON all."""
    left = len(addresses) - SHOWN
    return ", ".join(addresses[:SHOWN]) + (f" and {left} more" if left > 0 else "")
