"""The drills of a twin as they are on record, for the rules of the baseline (C-DR-06, C-BAK-04)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from policies.live.records import Drill, Drills, urn
from qhs.containers.notary import notary
from qhs.containers.signature import Trust
from qhs.drill import held, seal
from qhs.drill.holding import REPORT
from qhs.drill.journal import journals
from qhs.drill.report import DrillReport
from qhs.drill.seal import ReportError, Sealed
from qhs.errors import UserError
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.signing import REPORTS, signing_sites


def recorded(estate: Estate, twin: Twin, now: datetime) -> Drills:
    """All that have a report: one that was only begun, or whose report is none, shows nothing."""
    environment, trust = estate.inventory.environment, _trust(estate, twin)
    files = [folder / REPORT for folder in journals(held.folder(twin)).values()]
    found = tuple(
        Drill(
            plan=one.report.drill,
            ended=one.report.ended,
            faults=(*_foreign(one.report, environment), *_wrong(one, trust)),
        )
        for one in _reports(files)
    )
    return Drills(urn=urn(environment), name="drills", at=now, held=found)


def _reports(files: list[Path]) -> Iterator[Sealed]:
    for file in files:
        try:
            yield Sealed.read(file)
        except ReportError:
            continue


def _trust(estate: Estate, twin: Twin) -> Trust | str:
    """By which reports are judged; or why nobody can."""
    try:
        return notary(estate, twin, next(iter(signing_sites(estate))), REPORTS).trust
    except UserError as error:
        return str(error)


def _wrong(sealed: Sealed, trust: Trust | str) -> Iterator[str]:
    """Why nobody vouches for a report, and why its drill failed."""
    yield from [trust] if isinstance(trust, str) else seal.wrong(sealed, trust)
    yield from sealed.report.faults


def _foreign(report: DrillReport, environment: str) -> Iterator[str]:
    if report.environment != environment:
        yield f"found one of {report.environment}; wanted one of {environment}"
