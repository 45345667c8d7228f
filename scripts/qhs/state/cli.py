"""`qhs state`: where the states of the stacks are, so that no site's loss is theirs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

import typer
from pydantic import BaseModel, Field
from rich.table import Table

from qhs.console import complain, progress, show
from qhs.engine import Engine
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.state import homes, moves
from qhs.twin.names import Twin
from qhs.up import alone
from stacks.layers import stack_names
from stacks.model import Estate, load
from stacks.model.objects import COPIES, object_stores, others

app = typer.Typer(help=__doc__, no_args_is_help=True)


class Copy(BaseModel):
    """What a site has of the state of another's stack."""

    site: str
    found: Literal["same", "older", "none"]
    why: str = ""
    """Why there is none that can be read."""


class State(BaseModel):
    """The state of a stack."""

    stack: str
    site: str = Field(description="whose object store has it; empty: the state folder")
    resources: int = 0
    missing: str = ""
    """Why it cannot be read."""
    copies: list[Copy] = []


class StateReport(BaseModel):
    """What `qhs state status --json` prints."""

    environment: str
    states: list[State]

    @property
    def code(self) -> Literal[0, 2, 3]:
        """3: a state cannot be read; 2: one has no copy that is the same."""
        if any(one.missing for one in self.states):
            return 3
        return 0 if all("same" in (copy.found for copy in one.copies) for one in self.states) else 2


@app.command()
def adopt(
    at: Annotated[str, typer.Option(help="Go on at this site, from the copies that it has.")] = "",
) -> None:
    """Have the state of every stack in the object store of its own site, encrypted by a key of that site."""
    estate, twin = load(Environment.TWIN), Twin.here()
    if at and at not in (known := list(object_stores(estate))):
        raise UserError(f"found the site {at}; wanted one that has an object store: {', '.join(known)}", "name one")
    with alone(twin):
        engine = homes.engine(twin, progress)
        if not moves.adopt(engine, twin, estate, progress, at or None):
            progress("state: every one is where it belongs")


@app.command()
def copy() -> None:
    """Copy the state of every stack to the other sites, encrypted there by a key of theirs. Exit code 3: not all."""
    estate, twin = load(Environment.TWIN), Twin.here()
    with alone(twin):
        lacking = moves.copy(homes.engine(twin, progress), twin, estate, homes.read(twin), progress)
    for text in lacking:
        complain(text)
    raise typer.Exit(3 if lacking else 0)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Where every state is, and whether its copies are the same. Exit code 2: one is not; 3: a state cannot be read."""
    report = look(load(Environment.TWIN), Twin.here())
    show(report, as_json, table(report))
    raise typer.Exit(report.code)


def look(estate: Estate, twin: Twin) -> StateReport:
    """Every state and every copy, read through and compared."""
    engine, known = homes.engine(twin, progress), homes.read(twin)
    stacks = [str(one) for one in stack_names(estate)]
    with ThreadPoolExecutor(moves.AT_ONCE) as pool:
        states = list(pool.map(lambda stack: _state(engine, twin, estate, stack, known.get(stack, "")), stacks))
    return StateReport(environment=estate.inventory.environment, states=states)


def _state(engine: Engine, twin: Twin, estate: Estate, stack: str, site: str) -> State:
    try:
        found = moves.resources(moves.exported(engine, stack))
    except UserError as error:
        return State(stack=stack, site=site, missing=str(error))
    copies = [_copy(engine, twin, stack, other, found) for other in others(estate, site)] if site else []
    return State(stack=stack, site=site, resources=len(found), copies=copies)


def _copy(engine: Engine, twin: Twin, stack: str, site: str, wanted: object) -> Copy:
    try:
        found = moves.resources(moves.exported(homes.at(engine, twin, {stack: site}, COPIES), stack))
    except UserError as error:
        return Copy(site=site, found="none", why=str(error))
    return Copy(site=site, found="same" if found == wanted else "older")


def table(report: StateReport) -> Table:
    """A line a stack."""
    shown = Table("stack", "state at", "resources", "copies")
    for one in report.states:
        copies = ", ".join(f"{copy.site}: {copy.found}" for copy in one.copies) or "-"
        where = one.site or "state folder"
        shown.add_row(one.stack, where, str(one.resources) if not one.missing else "cannot be read", copies)
    return shown
