"""The client outside: a ledger at the site that is not to be lost, and one of the application."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

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
    since: datetime
    """When the drill began: what a ledger from before it has on record is not of it."""

    def start(self) -> None:
        """Have it write; the drill's own goes on. Raises UserError."""
        if Ledger.stands(self.twin, self.site):
            own = self._own()
            if own.goes_on():
                return
            own.leave()
        Ledger.start(self.twin, self.estate, self.site, web=True)

    def goes_on(self) -> None:
        """Raises UserError where there is none of this drill."""
        self._own()

    def stop(self) -> Written:
        """What it wrote. Raises UserError."""
        return written(self._own().told())

    def leave(self) -> None:
        """Nothing of it stands any more, if anything did."""
        with suppress(UserError):
            self._own().leave()

    def _own(self) -> Ledger:
        found = Ledger.found(self.twin, self.estate, self.site)
        if found.begun < self.since.replace(microsecond=0):
            raise UserError(
                f"the ledger at {self.site}: found one of {found.begun:%Y-%m-%dT%H:%M:%SZ}, from before this drill; "
                "wanted one of its own",
                f"`qhs ledger stop {self.site}` ends it",
            )
        return found


def written(reports: list[LedgerReport]) -> Written:
    """What the clients' reports come to: time is that of whoever was longest without an acknowledged write, of the
    databases or of the application, or is still; rows are those of all. Raises UserError where one tried nothing.
    """
    if idle := [one.run for one in reports if not one.lanes]:
        raise UserError(f"{', '.join(idle)}: found no try; wanted what each client met", "the drill once more")
    lanes = (each for one in reports for each in one.lanes if each.lane != "read")
    lane = max(lanes, key=lambda one: (not one.gap.over, one.gap.seconds))
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
