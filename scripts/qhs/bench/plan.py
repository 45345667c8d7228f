"""What a plan of `prod` costs as applications become more: time and memory, to grow no faster than they do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel, computed_field
from rich.table import Table

from qhs import plan
from qhs.bench import tenants
from qhs.bench.descendants import Descendants
from qhs.engine import prepare
from qhs.errors import UserError
from qhs.folders import CLONE
from qhs.progress import Progress
from stacks.layers import stack_names
from stacks.model import read
from stacks.model.load import CATALOGUE, INVENTORIES

LAYERS = ("signing", "replica", "cloud")
"""Those that applications have something in; networks do not know of them."""
TIMES = (1, 3, 10)
"""How many times each application of the clusters stands in the catalogue."""


class Measured(BaseModel):
    """The plan of one catalogue: all stacks at once, as `qhs plan` has them."""

    times: int
    tenants: int
    resources: int
    seconds: float
    """Until the last stack was planned. Whatever else the machine does is in it."""
    processor_seconds: float
    """Of engine, language hosts, programs, providers and policies together, on all cores."""
    peak_mb: float
    """Resident in all of them at the same time; what several share counts for each."""

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property; pydantic wants one
    @property
    def a_tenant(self) -> dict[str, float]:
        """Of the three, what a tenant costs."""
        costs = {"seconds": self.seconds, "processor_seconds": self.processor_seconds, "peak_mb": self.peak_mb}
        return {name: round(cost / self.tenants, 2) for name, cost in costs.items()}


class BenchReport(BaseModel):
    """What `qhs bench plan --json` prints."""

    environment: str
    layers: tuple[str, ...] = LAYERS
    measured: list[Measured]

    @property
    def faster(self) -> list[str]:
        """What grows faster than the tenants, from one catalogue to the next."""
        return [text for less, more in pairwise(self.measured) for text in _faster(less, more)]


def _faster(less: Measured, more: Measured) -> Iterator[str]:
    """Processor time is what is judged: on a machine that others use, seconds by the clock are theirs too."""
    wanted = more.tenants / less.tenants
    for what, before, after in (
        ("processor time", less.processor_seconds, more.processor_seconds),
        ("memory", less.peak_mb, more.peak_mb),
    ):
        if after > before * wanted:
            found = f"{after / before:.2f} times the {what} ({before:g} to {after:g})"
            yield f"found {found} from {less.tenants} to {more.tenants} tenants, wanted at most {wanted:.2f} times"


def parsed(text: str) -> list[int]:
    """`1,3,10` as numbers. Raises UserError unless they rise."""
    try:
        times = [int(one) for one in text.split(",")]
    except ValueError:
        times = []
    if not times or times[0] < 1 or sorted(set(times)) != times:
        raise UserError(f"found --times {text}; wanted whole numbers from 1 on, each more than the last", "--times 1,3")
    return times


def bench(times: Sequence[int], progress: Progress) -> BenchReport:
    """Raises UserError where a plan fails; nothing of it stays."""
    return BenchReport(environment=tenants.ENVIRONMENT, measured=[_measured(one, progress) for one in times])


def _measured(times: int, progress: Progress) -> Measured:
    progress(f"bench: each application of the clusters {times} times")
    with tempfile.TemporaryDirectory(prefix="qhs-bench-") as scratch:
        copy = tenants.copy(Path(scratch) / "clone", times)
        catalogue, inventories = (copy / one.relative_to(CLONE) for one in (CATALOGUE, INVENTORIES))
        estate = read(catalogue, inventories / tenants.ENVIRONMENT / "estate.yaml", datetime.now(UTC))
        engine = prepare(Path(scratch) / "state", progress, copy / "policies" / "pack")
        # What the engine starts imports the copy's modules before the clone's own.
        engine = replace(engine, environ={**engine.environ, "PYTHONPATH": str(copy)})
        stacks = [str(one) for one in stack_names(estate) if one.layer in LAYERS]
        started = time.monotonic()
        with Descendants() as needed:
            plans = plan.previews(engine, stacks, progress, copy)
        return Measured(
            times=times,
            tenants=len(estate.catalogue.tenants),
            resources=sum(one.resources for one in plans),
            seconds=round(time.monotonic() - started, 1),
            processor_seconds=round(needed.processor_seconds, 1),
            peak_mb=round(needed.peak / 1e6, 1),
        )


def table(report: BenchReport) -> Table:
    """A line a catalogue, and what a tenant of it costs."""
    title = f"plan of {report.environment}: {', '.join(report.layers)}"
    rows = Table("times", "tenants", "resources", "seconds", "processor s", "peak MB", title=title)
    for each in ("seconds a tenant", "processor s a tenant", "MB a tenant"):
        rows.add_column(each)
    for one in report.measured:
        cells = (one.times, one.tenants, one.resources, one.seconds, one.processor_seconds, one.peak_mb)
        rows.add_row(*map(str, cells), *(f"{cost:.2f}" for cost in one.a_tenant.values()))
    return rows
