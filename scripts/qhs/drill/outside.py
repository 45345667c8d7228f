"""The client outside: a ledger at the site that is not to be lost, and one of the application."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydantic import JsonValue

from qhs.drill.written import Gap, Written
from qhs.errors import UserError
from qhs.ledger.book import Ledger
from qhs.ledger.report import LedgerReport
from qhs.twin.names import Twin
from stacks.model import Estate


@dataclass(frozen=True)
class Outside:
    """Stands at a site."""

    twin: Twin
    estate: Estate
    site: str

    def start(self) -> None:
        """Have it write; one that writes already goes on. Raises UserError."""
        try:
            Ledger.found(self.twin, self.estate, self.site)
        except UserError:
            Ledger.start(self.twin, self.estate, self.site, web=True)

    def stop(self) -> Written:
        """What it wrote. Raises UserError."""
        return written(Ledger.found(self.twin, self.estate, self.site).stop())


def written(reports: list[LedgerReport]) -> Written:
    """What the clients' reports come to: time is that of the databases' client, rows are those of all."""
    lane = reports[0].of("write")
    told: dict[str, JsonValue] = {one.run: one.model_dump(mode="json") for one in reports}
    until = lane.gap.begun + timedelta(seconds=lane.gap.seconds)
    return Written(
        rows=sum(each.answered for one in reports for each in one.lanes if each.lane != "read"),
        gap=Gap(after=lane.gap.begun, until=until, over=lane.gap.over),
        lost={one.run: one.lost for one in reports if one.lost},
        lost_seconds=max(one.lost_seconds for one in reports),
        duplicate={one.run: one.duplicate for one in reports if one.duplicate},
        reordered={one.run: one.reordered for one in reports if one.reordered},
        unknown={one.run: one.unknown for one in reports if one.unknown},
        failed={one.run: failed for one in reports if (failed := sum(sum(each.wrong.values()) for each in one.lanes))},
        told=told,
    )
