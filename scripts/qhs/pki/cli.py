"""`qhs pki`: certificates that are not to be taken any more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qhs import ansible
from qhs.console import progress
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.lock import alone
from qhs.pki import files, users
from qhs.twin.names import Twin
from stacks.model import load

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.callback()
def _commands() -> None:
    """Keeps `revoke` a command of its own."""


@app.command()
def revoke(
    certificate: Annotated[Path | None, typer.Argument(help="The file of an SSH user certificate.")] = None,
    serial: Annotated[int | None, typer.Option(min=1, help="Its serial, as sshd's log has it.")] = None,
) -> None:
    """Have no machine take an SSH user certificate any more. A machine that is off learns it from the next `qhs up`."""
    if (certificate is None) == (serial is None):
        raise UserError("found neither a certificate nor a serial, or both; wanted one", "qhs pki revoke --help")
    number = users.serial_of(certificate) if certificate else serial or 0
    twin = Twin.here()
    with alone(twin.up_lock, f"`qhs up` of twin {twin.name}"):
        own = files.ensure(twin)
        said = "revoked" if users.revoke(own, number) else "was revoked before"
        progress(f"serial {number} {said}; telling the machines")
        estate = load(Environment.TWIN)
        ansible.play(twin, estate, "certificates.yml", set(estate.machines), progress)
