"""What a ledger's file and the rows that are found afterwards come to. Pure: by these two alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from pydantic import BaseModel, Field

from qhs.ledger.tries import Begun, Lane, Try, Wrong


class Row(NamedTuple):
    """Of a run, as the database has it."""

    place: int
    """Rises from one insert to the next."""
    number: int


class Gap(BaseModel):
    """From one answer as wanted to the next: what whoever asks was without."""

    seconds: float
    since: float
    """The clock's moment of the last one before; of the first try where there was none."""
    until: float
    """And of the first one after; of the end where there was none."""
    begun: datetime
    """`since`, by the host's wall clock."""
    over: bool = Field(description="whether anything was answered after it")
    site_before: str
    site_after: str
    number_after: int = Field(description="the first one that was answered after it; 0: none was")
    failed: float | None = Field(description="when the first try in it had come to nothing")
    redirected: float | None = Field(description="when the name first led to the site that answered after it")


class Span(BaseModel):
    """A site that answered without another in between."""

    site: str
    since: float
    until: float
    tries: int


class LaneReport(BaseModel):
    """One way of asking."""

    lane: Lane
    tries: int
    answered: int
    wrong: dict[Wrong, int]
    gap: Gap = Field(description="the longest")
    spans: list[Span]


class LedgerReport(BaseModel):
    """What `qhs ledger run --json` prints. Numbers are those of rows; moments are the client's clock."""

    run: str
    begun: datetime
    seconds: float
    every: float
    patience: float
    lanes: list[LaneReport]
    rows: int = Field(description="of this run, found afterwards")
    lost: list[int] = Field(description="acknowledged, and not there")
    lost_seconds: float = Field(description="from the first that was lost to the last")
    duplicate: list[int] = Field(description="there more than once")
    reordered: list[int] = Field(description="acknowledged, and there after a higher number")
    unacknowledged: list[int] = Field(description="there though nobody was told so: no fault, whoever asked must look")
    unknown: list[int] = Field(description="there, and never tried")

    @property
    def whole(self) -> bool:
        """No row is lost, there twice, out of order or nobody's."""
        return not (self.lost or self.duplicate or self.reordered or self.unknown)

    def of(self, lane: Lane) -> LaneReport:
        """Raises StopIteration where nothing was tried by it."""
        return next(one for one in self.lanes if one.lane == lane)


def judged(run: str, begins: Sequence[Begun], tries: Sequence[Try], rows: Iterable[Row], ended: float) -> LedgerReport:
    """All of it. `begins` has one at least; `ended`: when the client was told to end, by the same clock. A client that
    died before has tried nothing since, so nobody can say that anything was answered: that is a gap too.
    """
    first = begins[0]
    in_order = sorted(tries, key=lambda one: one.until)
    found = sorted(rows)
    counts = Counter(one.number for one in found)
    writes = [one for one in in_order if one.lane != "read"]
    tried, acknowledged = {one.number for one in writes}, {one.number for one in writes if one.wrong is None}
    tried |= {max(tried) + 1} if tried else set()  # on its way when the client ended, which noted no end of it
    lost = sorted(acknowledged - counts.keys())
    moments = [one.at for one in writes if one.number in set(lost)]
    lanes = dict.fromkeys(one.lane for one in in_order)
    return LedgerReport(
        run=run,
        begun=first.begun,
        seconds=in_order[-1].until - first.clock if in_order else 0,
        every=first.every,
        patience=first.patience,
        lanes=[_lane(lane, first, [one for one in in_order if one.lane == lane], ended) for lane in lanes],
        rows=len(found),
        lost=lost,
        lost_seconds=max(moments) - min(moments) if moments else 0,
        duplicate=sorted(number for number, count in counts.items() if count > 1),
        # Whoever gave up on one knows nothing of when it is done.
        reordered=_reordered([one for one in found if one.number in acknowledged]),
        unacknowledged=sorted((tried & counts.keys()) - acknowledged),
        unknown=sorted(counts.keys() - tried),
    )


def first_after(tries: Iterable[Try], lane: Lane, moment: float) -> Try | None:
    """The first answer as wanted to what was asked from that moment of the clock on: the end of an outage."""
    answered = (one for one in tries if one.lane == lane and one.wrong is None and one.at >= moment)
    return min(answered, key=lambda one: one.until, default=None)


def _lane(lane: Lane, first: Begun, tries: Sequence[Try], ended: float) -> LaneReport:
    return LaneReport(
        lane=lane,
        tries=len(tries),
        answered=sum(one.wrong is None for one in tries),
        wrong=dict(Counter(one.wrong for one in tries if one.wrong)),
        gap=_longest(first, tries, ended),
        spans=_spans(tries),
    )


def _longest(first: Begun, tries: Sequence[Try], ended: float) -> Gap:
    """The time before the first answer, and after the last one, counts too."""
    answered = [one for one in tries if one.wrong is None]
    open_ended = tries[-1].wrong is not None or ended > tries[-1].until + first.patience
    edges = [None, *answered, *([None] if open_ended or not answered else [])]
    start, end = tries[0].at, max(ended, tries[-1].until) if open_ended else tries[-1].until

    def seconds(edge: tuple[Try | None, Try | None]) -> float:
        before, after = edge
        return (after.until if after else end) - (before.until if before else start)

    before, after = max(pairwise(edges), key=seconds)
    since, until = before.until if before else start, after.until if after else end
    within = [one for one in tries if since < one.until <= until]
    site = after.site if after else ""
    return Gap(
        seconds=until - since,
        since=since,
        until=until,
        begun=first.begun + timedelta(seconds=since - first.clock),
        over=after is not None,
        site_before=before.site if before else "",
        site_after=site,
        number_after=after.number if after else 0,
        failed=next((one.until for one in within if one.wrong), None),
        redirected=next((one.at for one in within if one.site == site), None) if after else None,
    )


def _spans(tries: Sequence[Try]) -> list[Span]:
    found: list[Span] = []
    for one in tries:
        if one.wrong is not None:
            continue
        if found and found[-1].site == one.site:
            found[-1].until, found[-1].tries = one.until, found[-1].tries + 1
        else:
            found.append(Span(site=one.site, since=one.until, until=one.until, tries=1))
    return found


def _reordered(rows: Sequence[Row]) -> list[int]:
    highest, found = 0, []
    for one in rows:
        if one.number < highest:
            found.append(one.number)
        highest = max(highest, one.number)
    return sorted(found)
