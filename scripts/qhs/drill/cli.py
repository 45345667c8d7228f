"""`qhs drill`: the estate moves from one site to the other and back, or its databases are restored, by plans.

Each leaves a signed report.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import BaseModel, Field
from rich.table import Table

from qhs.console import complain, progress, show
from qhs.containers.notary import notary
from qhs.drill import held, plan, restoring, seal
from qhs.drill.holding import PAGE, REPORT, hold, sealed_of
from qhs.drill.journal import Journal, is_over, journals
from qhs.drill.known import ESTATE
from qhs.drill.plan import Script
from qhs.drill.report import DrillReport, report
from qhs.drill.seal import ReportError, Sealed
from qhs.drill.selftest.cli import selftest
from qhs.drill.selftest.deeds import heal
from qhs.drill.selftest.ways import TwinWays
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.twin.names import Twin
from qhs.up import alone
from stacks.model import Estate, load
from stacks.model.data import members
from stacks.model.signing import REPORTS, signing_sites

app = typer.Typer(help=__doc__, no_args_is_help=True)

At = Annotated[str, typer.Option("--at", metavar="TIME", help="To which point; else one at random.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Back = Annotated[bool, typer.Option("--back", help="Undo the one that is half-way, instead of going on with it.")]


class Half(BaseModel):
    """A drill, as `status --json` tells of it."""

    run: str
    drill: str
    old: str
    new: str
    over: bool
    passed: bool
    faults: list[str]
    report: str = Field(description="its file; empty: there is none yet")


class StatusReport(BaseModel):
    """What `qhs drill status --json` prints."""

    drills: list[Half]
    code: Literal[0, 2, 3]


@app.callback()
def drill() -> None:
    """The estate moves from one site to the other and back, or is restored for trial, and each time leaves a report."""


@app.command("plan")
def plan_(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(plan.names())}.")],
    from_: Annotated[str, typer.Option("--from", metavar="SITE", help="Which takes writes; else as at home.")] = "",
    as_json: AsJson = False,
) -> None:
    """What a drill asks, does and undoes, and the same by hand, for the day when this command is dead."""
    script, estate, _ = _read(name)
    sites = list(members(estate))
    if as_json:
        typer.echo(script.plan.model_dump_json(indent=1))
        return
    home = estate.inventory.signing.founds
    away = next(one for one in sites if one != home)
    active = from_ or (away if script.plan.begins == "elsewhere" else home)
    old, new = held.direction(estate, script.plan, active, sites)
    for line in _plan(script, {"old": old, "new": new}):
        typer.echo(line)


@app.command()
def switchover(back: Back = False, as_json: AsJson = False) -> None:
    """Both sites are well and change places. Exit code 2: it failed, or was refused before anything was touched."""
    _held("switchover", back, as_json)


@app.command()
def failover(back: Back = False, as_json: AsJson = False) -> None:
    """The active site loses its power; the other takes its place, and it comes back as a copy. Exit codes as above."""
    _held("failover", back, as_json)


@app.command()
def failback(back: Back = False, as_json: AsJson = False) -> None:
    """Writes come back to the site that they belong to. Exit codes as above."""
    _held("failback", back, as_json)


@app.command()
def restore(at: At = "", back: Back = False, as_json: AsJson = False) -> None:
    """A copy of the databases is restored beside them, to a point in time, and compared. Exit codes as above."""
    _held("restore", back, as_json, restoring.point(at) if at else "")


@app.command("test")
def test_(back: Back = False, as_json: AsJson = False) -> None:
    """The other site's copy serves in a bubble that reaches nothing, while writes go on. Exit codes as above."""
    _held("test", back, as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Drills so far, and whether one is half-way. Exit codes: 2 the last one failed, 3 one is half-way."""
    twin = Twin.here()
    found = [_half(path) for path in journals(held.folder(twin)).values()]
    half = any(not one.over for one in found)
    code: Literal[0, 2, 3] = 3 if half else 2 if found and not found[-1].passed else 0
    rows = Table("drill", "from", "to", "ended", "what is wrong", "report")
    for one in found:
        ended = ("passed" if one.passed else "failed") if one.over else "half-way"
        rows.add_row(one.run, one.old, one.new, ended, "\n".join(one.faults), one.report)
    show(StatusReport(drills=found, code=code), as_json, rows)
    raise typer.Exit(code)


@app.command("report")
def report_(run: Annotated[str, typer.Argument(help="As `status` names it.")]) -> None:
    """Write the report of a drill that is over once more, signed now; prints its file."""
    twin, estate = Twin.here(), load(Environment.TWIN)
    known = journals(held.folder(twin))
    if run not in known:
        raise UserError(f"there is no drill {run!r}", f"those that there are: {', '.join(known) or 'none'}")
    journal = Journal.read(known[run])
    if not journal.over:
        raise UserError(f"the drill {run} is half-way", f"`qhs drill {journal.began.name}` goes on with it")
    sealed = sealed_of(estate, twin, journal)
    typer.echo(str(journal.folder / REPORT))
    raise typer.Exit(0 if sealed.seal else 2)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A report.", exists=True, dir_okay=False)], as_json: AsJson = False
) -> None:
    """Whether a report is the signer's, whole, follows from its journal and lacks no evidence. Exit code 2: no."""
    twin, estate = Twin.here(), load(Environment.TWIN)
    try:
        sealed = Sealed.read(file)
    except ReportError as error:
        complain(str(error))
        raise typer.Exit(2) from None
    site = next(iter(signing_sites(estate)))
    faults = [*seal.wrong(sealed, notary(estate, twin, site, REPORTS).trust)]
    if as_json:
        typer.echo(json.dumps({"run": sealed.report.run, "head": sealed.report.head, "faults": faults}, indent=1))
    for fault in faults:
        complain(f"{file}: {fault}")
    if not faults and not as_json:
        typer.echo(
            f"{sealed.report.run}: signed, whole; {len(sealed.report.journal)} entries up to {sealed.report.head}"
        )
    raise typer.Exit(2 if faults else 0)


app.command("selftest")(selftest)


@app.command()
def schema() -> None:
    """The JSON schema of reports."""
    typer.echo(json.dumps(Sealed.model_json_schema(), indent=1, ensure_ascii=False))


def _read(name: str) -> tuple[Script, Estate, Twin]:
    estate = load(Environment.TWIN)
    return plan.read(name, ESTATE, estate.catalogue.tiers), estate, Twin.here()


def _held(name: str, back: bool, as_json: bool, at: str = "") -> None:
    script, estate, twin = _read(name)
    with held.alone(twin), alone(twin):
        heal(held.folder(twin), TwinWays(estate, twin), progress)
        journal, sealed = hold(estate, twin, script, back=back, at=at)
    _tell(journal, sealed, as_json)


def _tell(journal: Journal, sealed: Sealed, as_json: bool) -> None:
    made = sealed.report
    lines = [*made.faults, f"report: {journal.folder / REPORT}", f"page: {journal.folder / PAGE}"]
    show(sealed, as_json, _table(made), *lines)
    raise typer.Exit(0 if made.passed and sealed.seal else 2)


def _half(folder: Path) -> Half:
    file, over = folder / REPORT, is_over(folder)
    written = str(file) if file.is_file() else ""
    try:
        made = report(Journal.read(folder))
    except UserError as error:
        return Half(
            run=folder.name, drill="", old="", new="", over=over, passed=False, faults=[error.what], report=written
        )
    return Half(
        run=made.run,
        drill=made.drill,
        old=made.old,
        new=made.new,
        over=over,
        passed=made.passed,
        faults=made.faults if over else [],
        report=written,
    )


def _table(made: DrillReport) -> Table:
    """A line a step, then the phases of the time without writes."""
    rows = Table("step", "what", "state", "seconds", "found", title=f"{made.title.en}: {_where(made)}")
    for one in made.steps:
        seconds = f"{(one.ended - one.began).total_seconds():.1f}" if one.began and one.ended else ""
        found = "\n".join([*(it.found for it in one.evidence), *one.faults])
        rows.add_row(one.name, one.title.en, "undone" if one.undone else one.state, seconds, found)
    for part in made.phases:
        rows.add_row("", f"of the time without writes: {part.name}", "", f"{part.seconds:.3f}", "")
    return rows


def _where(made: DrillReport) -> str:
    return made.place if made.stays else f"{made.old} -> {made.new}"


def _plan(script: Script, sites: dict[str, str]) -> Iterator[str]:
    """What is asked, done and undone, each with what a person types instead."""
    where = sites[script.plan.place] if script.plan.begins == "stays" else f"{sites['old']} -> {sites['new']}"
    yield f"{script.plan.title.vi} / {script.plan.title.en}: {where}"
    yield "\nbefore anything is touched:"
    for condition in script.plan.conditions:
        yield from _lines(f"{condition.title.vi} / {condition.title.en}", condition, sites)
    for number, step in enumerate(script.plan.steps, 1):
        yield f"\nstep {number}:"
        yield from _lines(f"{step.title.vi} / {step.title.en}", step, sites)
        for way in step.back:
            yield from _lines("way back", way, sites)
        if step.name == script.plan.keeps and script.plan.begins != "stays":
            yield f"\nfrom here on {sites['new']} may have taken writes, and what fails is not undone"
    yield "\nat the end, whichever way it went:"
    for end in script.plan.ends:
        yield from _lines("", end, sites)


def _lines(title: str, call: plan.Manual, sites: dict[str, str]) -> Iterator[str]:
    action = ESTATE.known[call.do]
    limit = f" ({call.limit:g} {action.limit})" if call.limit else ""
    yield f"  {title}{': ' if title else ''}{action.says}{limit} Within {call.within:.0f} s."
    yield from (f"    by hand: {one.format(**sites)}" for one in call.by_hand)
