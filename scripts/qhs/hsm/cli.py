"""`qhs hsm`: the devices that hold the keys of signatures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Literal

import typer
from pydantic import BaseModel, Field
from rich.table import Table

from qhs.console import complain, progress, show
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.hsm import keys
from qhs.hsm.ceremony.cli import app as ceremony
from qhs.hsm.device import DeviceError, ask
from qhs.secret_stores import snapshots
from qhs.twin.names import Twin
from stacks.model import Estate, load, signing
from stacks.model.estate import HSM

app = typer.Typer(help=__doc__, no_args_is_help=True)
app.add_typer(ceremony, name="ceremony")


class Token(BaseModel):
    """A token, as its device describes it."""

    label: str
    serial: str
    model: str
    manufacturer: str
    flags: list[str] = Field(description="PKCS#11's, about its PINs")
    mechanisms: list[str]


class Device(BaseModel):
    """The device on one machine."""

    machine: str
    site: str
    module: str = ""
    """Who makes the PKCS#11 module, and its version."""
    tokens: list[Token] = []
    missing: str = ""
    """Why it does not answer."""


class HsmReport(BaseModel):
    """What `qhs hsm status --json` prints."""

    environment: str
    devices: list[Device]
    limits: list[str] = Field(description="what this environment cannot do, and what stands in for it")
    code: Literal[0, 3]


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Every device of the running twin and its tokens. Needs no PIN. Exit code 3: one does not answer."""
    report = look(load(Environment.TWIN), Twin.here())
    show(report, as_json, table(report), *report.limits)
    raise typer.Exit(report.code)


@app.command()
def rotate(token: Annotated[str, typer.Argument(help="Its label, as `qhs hsm status` shows it.")]) -> None:
    """Give a token another PIN on every device. Who has it open goes on; an interrupted run is gone on with.

    Exit code 3: a snapshot of a secret store, which has the new ones, is not at every other site.
    """
    estate, twin = load(Environment.TWIN), Twin.here()
    if token not in (known := [one.label for one in signing.tokens(estate)]):
        raise UserError(f"found the token {token}; wanted one of {', '.join(known)}", "`qhs hsm status` shows them")
    for device in keys.rotated(estate, twin, token):
        progress(f"{device}: {token} has another PIN")
    lacking = snapshots.take(estate, twin, progress)  # an older one has the PINs of before
    for text in lacking:
        complain(text)
    raise typer.Exit(3 if lacking else 0)


@app.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Every key with its certificate, and which devices have it. Exit codes: 2 a device has another, 3 one lacks it."""
    report = keys.look(load(Environment.TWIN), Twin.here())
    show(report, as_json, keys.table(report))
    raise typer.Exit(report.code)


@app.command()
def verify(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Have every key of every device sign, and verify that. Exit codes: 2 one does not, 3 a device does not answer."""
    report = keys.look(load(Environment.TWIN), Twin.here(), prove=True)
    show(report, as_json, keys.table(report))
    raise typer.Exit(report.code)


def look(estate: Estate, twin: Twin) -> HsmReport:
    """Ask every device, in parallel and each once."""
    hosts = [one for one in estate.machines.values() if HSM in one.roles]
    with ThreadPoolExecutor(len(hosts)) as pool:
        devices = list(pool.map(partial(_device, twin), [one.name for one in hosts], [one.site for one in hosts]))
    touched = {name: limit for name, limit in estate.inventory.limits.items() if "C-HSM-01" in limit.controls}
    return HsmReport(
        environment=estate.inventory.environment,
        devices=devices,
        limits=[f"limit {name}: {limit}" for name, limit in touched.items()],
        code=3 if any(one.missing for one in devices) else 0,
    )


def _device(twin: Twin, machine: str, site: str) -> Device:
    try:
        answer = ask(twin, machine, "tokens")
    except DeviceError as error:
        return Device(machine=machine, site=site, missing=str(error))
    module = f"{answer['device']['manufacturer']} {answer['device']['version']}"
    return Device(machine=machine, site=site, module=module, tokens=answer["tokens"])


def table(report: HsmReport) -> Table:
    """A line a token; one for a device that has none, or does not answer."""
    rows = Table("machine", "site", "module", "token", "serial", "PIN", title=f"HSMs of {report.environment}")
    for one in report.devices:
        for token in one.tokens:
            flags = ", ".join(flag.removeprefix("CKF_USER_PIN_").lower() for flag in token.flags)
            rows.add_row(one.machine, one.site, one.module, token.label, token.serial, flags)
        if not one.tokens:
            rows.add_row(one.machine, one.site, one.module, one.missing or "none", "", "")
    return rows
