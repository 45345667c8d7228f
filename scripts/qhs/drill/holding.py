"""Holds a drill of the estate, and has its report signed."""

from __future__ import annotations

from functools import partial

from qhs import whole
from qhs.console import complain, progress
from qhs.containers.notary import notary
from qhs.drill import held, plan, restoring, seal
from qhs.drill.ground import Ground
from qhs.drill.journal import Began, Journal
from qhs.drill.known import ESTATE
from qhs.drill.outside import Outside
from qhs.drill.page import page
from qhs.drill.plan import Script
from qhs.drill.report import DrillReport, report
from qhs.drill.runner import Runner
from qhs.drill.seal import ReportError, Sealed
from qhs.drill.selftest.trial import Bench
from qhs.drill.selftest.ways import TwinWays
from qhs.errors import UserError
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.data import members
from stacks.model.signing import REPORTS, signing_sites

REPORT, PAGE = "report.json", "report.html"


def hold(estate: Estate, twin: Twin, script: Script, *, back: bool = False, at: str = "") -> tuple[Journal, Sealed]:
    """Carry it out, or go on with it, to its end; for whoever is alone. `at`: of a restore, its point; else at random.

    Raises UserError.
    """
    journal = held.opened(twin, script, back, lambda: begins(estate, twin, script))
    own = journal.began
    script = plan.of(own.name, own.plan, ESTATE, estate.catalogue.tiers, journal.folder / f"{own.name}.yaml")
    chosen = journal.found(script.plan, restoring.POINT).get("at", at)
    if at not in ("", chosen):
        raise UserError(f"{journal.folder.name} is half-way to {chosen}", f"`qhs drill {script.name}` goes on with it")
    runner(estate, twin, script, journal, at).run()
    return journal, sealed_of(estate, twin, journal)


def bench(estate: Estate, twin: Twin) -> Bench[Ground]:
    """The twin, for drills to be tried on."""
    tiers = estate.catalogue.tiers
    return Bench(
        twin=twin,
        scripts={name: plan.read(name, ESTATE, tiers) for name in plan.names()},
        read=lambda name, text: plan.of(name, text, ESTATE, tiers, plan.FOLDER / f"{name}.yaml"),
        begins=partial(begins, estate, twin),
        runner=partial(runner, estate, twin),
        move=partial(hold, estate, twin),
        sign=partial(signed, estate, twin),
        trust=lambda: notary(estate, twin, next(iter(signing_sites(estate))), REPORTS).trust,
        ways=TwinWays(estate, twin),
        progress=progress,
    )


def runner(estate: Estate, twin: Twin, script: Script, journal: Journal, at: str = "") -> Runner[Ground]:
    """Of a drill that has a journal."""
    began = journal.began
    shows, found = partial(journal.shows, script.plan), partial(journal.found, script.plan)
    ground = Ground(estate, twin, began.old, began.new, shows, found, at)
    client = Outside(twin, estate, began.new, since=journal.entries[0].at)
    return Runner(script.plan, ESTATE, ground, client, journal, progress)


def begins(estate: Estate, twin: Twin, script: Script) -> Began:
    """What its journal begins with, from whichever site has the lease. Raises UserError."""
    active = Ground(estate, twin, "", "").lease().active
    return held.began(estate, script, *held.direction(estate, script.plan, active, list(members(estate))))


def signed(estate: Estate, twin: Twin, made: DrillReport) -> Sealed:
    """Where anybody signs, at the site that takes writes first; where nobody does, without a seal."""
    for site in sorted(signing_sites(estate), key=lambda one: one != made.primary):
        try:
            return seal.seal(made, notary(estate, twin, site, REPORTS).sign)
        except UserError as error:
            complain(f"{error}")
    return Sealed(report=made, seal=None)


def sealed_of(estate: Estate, twin: Twin, journal: Journal) -> Sealed:
    """Its report, in its files; unsigned it is kept all the same, and one that is signed stays as it is."""
    made = report(journal)
    if (kept := _kept(journal)) and kept.seal and kept.report == made:
        return kept
    sealed = signed(estate, twin, made)
    whole.write(journal.folder / REPORT, sealed.text())
    whole.write(journal.folder / PAGE, page(sealed))
    return sealed


def _kept(journal: Journal) -> Sealed | None:
    try:
        return Sealed.read(journal.folder / REPORT)
    except ReportError:
        return None
