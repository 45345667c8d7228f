"""`qhs drill selftest`: drills are tried with faults, and each must turn red for its own reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import typer
from pydantic import Field
from rich.table import Table

from qhs import whole
from qhs.console import show
from qhs.drill import held
from qhs.drill.holding import bench
from qhs.drill.selftest import faults
from qhs.drill.selftest.deeds import FOLDER
from qhs.drill.selftest.faults import Fault
from qhs.drill.selftest.trial import Outcome, Selftest, right
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.twin.names import Twin
from qhs.up import alone
from stacks.model import load
from stacks.model.catalogue import Strict


class SelftestReport(Strict):
    """What `qhs drill selftest --json` prints."""

    faults: list[Outcome]
    code: Annotated[Literal[0, 2], Field(description="2: a fault was not found, or not for its reason")]


def selftest(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="A fault; may be said again.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Put faults in, one after the other: each must turn a drill red for its reason, and leave one site that writes.

    What a fault changed is undone. All of them take long, and move writes there and back.
    Exit code 2: one was not found.
    """
    twin, estate = Twin.here(), load(Environment.TWIN)
    own = bench(estate, twin)
    chosen = _chosen(faults.read(own.scripts), only or [])
    with held.alone(twin), alone(twin):
        tried = [*Selftest(own, chosen).run()]
    report = SelftestReport(faults=tried, code=0 if all(one.passed for one in tried) else 2)
    file = held.folder(twin) / FOLDER / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    file.parent.mkdir(exist_ok=True, mode=0o700)
    whole.write(file, report.model_dump_json(indent=1) + "\n")
    show(report, as_json, _table(report), f"report: {file}")
    raise typer.Exit(report.code)


def _chosen(known: dict[str, Fault], only: list[str]) -> dict[str, Fault]:
    if unknown := [name for name in only if name not in known]:
        raise UserError(f"there is no fault {', '.join(unknown)}", f"those that there are: {', '.join(known)}")
    return {name: fault for name, fault in known.items() if name in only or not only}


def _table(report: SelftestReport) -> Table:
    rows = Table("fault", "drill", "wanted", "found", "afterwards", "seconds", "")
    for one in report.faults:
        found = "\n".join(map(str, right(one.wanted, one.found) or one.found)) or "no fault"
        after = "\n".join(filter(None, (one.safe or "not shown to be safe", one.left)))
        name = f"{one.fault}\n{one.title.vi} / {one.title.en}"
        rows.add_row(
            name, one.drill, str(one.wanted), found, after, f"{one.seconds:.0f}", "PASS" if one.passed else "FAIL"
        )
    return rows
