"""`qhs cloud upgrade`: a site's control plane on another version of its programs, gate by gate, or back.

Parts are restarted in the order in which they may be of different versions: the API of every control plane first, as
no other part may be newer than it. After each, all gates are asked; at the first that stays closed, everything goes
back: the programs of before, and the store as the snapshot has it that was taken before. An API of the new version is
the first that is begun and may have written what an older one cannot read, so no way back goes without the store.

What is under way is written down before each step, in the twin's state folder. A second run goes on with it: with the
step that was cut off, as each may be done again, or with going back.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.version import Version
from pydantic import BaseModel, Field
from rich.table import Table

from qhs import tools, trust_access, whole
from qhs.cloud import gates, machines
from qhs.cloud.gates import CHOICE, Gate, first_closed
from qhs.cloud.store import PARTS, Store
from qhs.errors import UserError
from qhs.progress import Progress
from qhs.tools import spec
from qhs.twin.names import Twin
from stacks.model import Estate

IMAGE = "image"
"""What a control plane calls the programs that it was made with."""
KUBELETS = 3
"""Minor versions by which the agent of a node may be older than the API."""


class Step(BaseModel):
    """A part of a control plane that was begun to be changed."""

    part: str
    machine: str
    gate: str = Field(default="", description="that did not pass after it")
    found: str = ""
    seconds: float = 0


class Journal(BaseModel):
    """What is under way."""

    came_from: str = Field(description="version of the API before")
    to: str
    programs: dict[str, dict[str, str]] = Field(description="by machine and part what ran, where not the image's")
    snapshot: str = Field(description="of the store, taken before; on the first control plane")
    steps: list[Step] = []
    finished: int = Field(default=0, description="how many of them passed all gates")
    given_back: bool = Field(default=False, description="the store became as the snapshot has it")


class UpgradeReport(BaseModel):
    """What `qhs cloud upgrade --json` prints."""

    site: str
    came_from: str
    to: str
    runs: str = Field(description="version of the API now")
    outcome: Literal["upgraded", "as wanted before", "went back"]
    snapshot: str = Field(description="taken before; where it went back, the store is as this has it")
    steps: list[Step]
    gate: str = Field(description="that did not pass, or nothing")
    found: str
    code: Literal[0, 2]


def table(report: UpgradeReport) -> Table:
    """A line a step."""
    rows = Table(
        "machine", "part", "seconds", "gate", "found", title=f"{report.site}: {report.came_from} -> {report.to}"
    )
    for step in report.steps:
        rows.add_row(step.machine, step.part, f"{step.seconds:.1f}", step.gate or "all passed", step.found)
    return rows


def line(report: UpgradeReport) -> str:
    """What came of it."""
    if report.outcome != "went back":
        return f"{report.site}: {report.outcome}; the API runs {report.runs}"
    return (
        f"{report.site}: gate {report.gate} stayed closed ({report.found}): the programs of {report.runs} run again, "
        f"on the store as {report.snapshot} has it"
    )


def refused(now: str, wanted: str, kubelets: dict[str, str]) -> str:
    """Why a control plane of one version may not become one of another; empty: it may."""
    old, new = Version(now), Version(wanted)
    if new < old:
        return f"{wanted} is older than {now}; the store may hold what an older API cannot read"
    if (new.major, new.minor) not in ((old.major, old.minor), (old.major, old.minor + 1)):
        return f"{wanted} is more than one minor version from {now}"
    for node, version in sorted(kubelets.items()):
        agent = Version(version)
        if agent > new or new.minor - agent.minor > KUBELETS:
            return (
                f"{node} has {version}; an API of {wanted} takes nodes of its own and {KUBELETS} minor versions before"
            )
    return ""


@dataclass(frozen=True)
class ControlPlane:
    """Of a site, as an upgrade deals with it; what it does is done on machines."""

    estate: Estate
    twin: Twin
    store: Store

    @property
    def members(self) -> tuple[str, ...]:
        """In the order in which they are changed."""
        return self.store.members

    def version(self) -> str:
        """Of the API. Raises UserError."""
        return gates.running(self.twin, self.store.site)

    def kubelets(self) -> dict[str, str]:
        """By node. Raises UserError."""
        return gates.kubelets(self.twin, self.store.site)

    def used(self) -> dict[str, dict[str, str]]:
        """By machine and part the version that runs instead of the image's. Raises UserError."""
        return {one: json.loads(machines.run(self.twin, one, CHOICE, "used")) for one in self.members}

    def built(self, version: str, progress: Progress) -> dict[str, Path]:
        """The programs of a version, built if need be: minutes. Raises UserError where no tool has it."""
        known = {one.version: one.name for one in map(spec.load, spec.names()) if {*PARTS} <= {*one.programs}}
        if version not in known:
            raise UserError(
                f"--to: found {version}; wanted a version that is built here: {', '.join(sorted(known))}",
                "name one, or lock another one in scripts/tools/kubernetes-next",
            )
        found = tools.built(known[version], progress).programs
        return {part: found[part] for part in PARTS}

    def bring(self, version: str, progress: Progress) -> None:
        """Have the programs of a version on every machine, as they were built. Raises UserError."""
        wanted = self.built(version, progress)
        digests = {part: _digest(path) for part, path in wanted.items()}
        for one in self.members:
            if json.loads(machines.run(self.twin, one, CHOICE, "digests", version)) != digests:
                progress(f"{one}: bringing the programs of {version}")
                machines.run(self.twin, one, CHOICE, "put", version, given=_archive(wanted))

    def choose(self, machine: str, part: str, version: str) -> None:
        """Have a part run a version, or the image's, from its next start on. Raises UserError."""
        machines.run(self.twin, machine, CHOICE, "use", version, part)

    def restart(self, machine: str, part: str) -> None:
        """Raises UserError where it does not start."""
        machines.run(self.twin, machine, "systemctl", "restart", f"qhs-{part}.service")

    def gates(self, versions: dict[tuple[str, str], str]) -> list[Gate]:
        """Of parts, by machine and name, with the version that each has to run as; then of the cluster."""
        parts = (gates.of_part(self.twin, *which, version) for which, version in versions.items())
        return [*parts, *gates.of_cluster(self.estate, self.twin, self.store.site, self.members)]


def upgrade(plane: ControlPlane, to: str, progress: Progress) -> UpgradeReport:
    """Go to a version, or on with what was cut off.

    Raises UserError, with nothing changed, where that may not be or the cluster is not well before; and where going
    back fails: the same command then tries that again.
    """
    trust_access.write(plane.twin, plane.estate)
    file = plane.twin.upgrades / f"{plane.store.site}.json"
    journal = _under_way(file, to)
    if journal is None:
        journal = _begin(plane, to, progress)
        if journal.came_from == to:
            return _report(plane, journal, "as wanted before")
        _write(file, journal)
    else:
        progress(f"{plane.store.site}: going on with {journal.came_from} -> {to}; {journal.finished} steps are done")
    closed = any(step.gate for step in journal.steps)
    if not closed:
        plane.bring(to, progress)
        closed = not _forward(plane, file, journal, progress)
    if closed:
        _back(plane, file, journal, progress)
    report = _report(plane, journal, "went back" if closed else "upgraded")
    file.unlink()
    plane.store.release()
    return report


def _begin(plane: ControlPlane, to: str, progress: Progress) -> Journal:
    """Raises UserError, with nothing changed, where it may not be or the cluster is not well."""
    site, now = plane.store.site, plane.version()
    if why := refused(now, to, plane.kubelets()):
        raise UserError(
            f"{site}: {why}", "go by one minor version at a time, nodes not later than three after their API"
        )
    plane.built(to, progress)
    progress(f"{site}: asking whether all is well before {now} becomes {to}")
    gate, found = first_closed(plane.gates(_all(plane, now)))
    if gate:
        raise UserError(
            f"{site}: gate {gate}: {found}", "an upgrade begins where all is well: `qhs up`, then this again"
        )
    if now == to:
        return Journal(came_from=now, to=to, programs={}, snapshot="")
    taken = plane.store.take()
    progress(f"{site}: snapshot {taken.name}, revision {taken.revision}")
    return Journal(came_from=now, to=to, programs=plane.used(), snapshot=plane.store.hold(taken))


def _forward(plane: ControlPlane, file: Path, journal: Journal, progress: Progress) -> bool:
    """Every step from the first that is not finished; whether all gates passed."""
    versions = _all(plane, journal.came_from)
    for number, (machine, part) in enumerate(order(plane.members)):
        versions[machine, part] = journal.to
        if number < journal.finished:
            continue
        step, began = Step(part=part, machine=machine), time.monotonic()
        journal.steps[number:] = [step]
        _write(file, journal)
        progress(f"{machine}: {part} {journal.came_from} -> {journal.to} ({number + 1} of {len(versions)})")
        try:
            plane.choose(machine, part, journal.to)
            plane.restart(machine, part)
        except UserError as error:
            step.gate, step.found = f"{part} of {machine}", error.what
        else:
            step.gate, step.found = first_closed(plane.gates(versions))
        step.seconds = round(time.monotonic() - began, 1)
        journal.finished += not step.gate
        _write(file, journal)
        if step.gate:
            progress(f"{machine}: gate {step.gate} stays closed: {step.found}")
            return False
    return True


def _back(plane: ControlPlane, file: Path, journal: Journal, progress: Progress) -> None:
    """The programs of before on the store of before. Raises UserError.

    The store is given back once: what is written to it from then on, as to put right what a gate names, is kept.
    """
    progress(f"{plane.store.site}: going back to {journal.came_from}")
    if not journal.given_back:
        for step in reversed(journal.steps):
            plane.choose(step.machine, step.part, journal.programs[step.machine].get(step.part, IMAGE))
        plane.store.give_back(plane.store.named(journal.snapshot), progress)
        journal.given_back = True
        _write(file, journal)
    gate, found = first_closed(plane.gates(_all(plane, journal.came_from)))
    if gate:
        raise UserError(
            f"{plane.store.site}: back on {journal.came_from}, gate {gate} stays closed: {found}",
            "put right what it names; the same command then asks all gates again, and the store stays as it is",
        )


def order(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Machine and part: one after the other, and no part before every API."""
    for part in PARTS:
        for machine in names:
            yield machine, part


def _all(plane: ControlPlane, version: str) -> dict[tuple[str, str], str]:
    return dict.fromkeys(order(plane.members), version)


def _under_way(file: Path, to: str) -> Journal | None:
    """Raises UserError where it is another one that was cut off."""
    if not file.exists():
        return None
    found = Journal.model_validate_json(file.read_text())
    if found.to != to:
        raise UserError(
            f"{file}: found {found.came_from} -> {found.to} under way; wanted it ended before {to}",
            f"`qhs cloud upgrade {file.stem} --to {found.to}` goes on with it, or goes back",
        )
    return found


def _write(file: Path, journal: Journal) -> None:
    file.parent.mkdir(mode=0o700, exist_ok=True)
    whole.write(file, journal.model_dump_json(indent=1) + "\n", 0o600)


def _report(
    plane: ControlPlane, journal: Journal, outcome: Literal["upgraded", "as wanted before", "went back"]
) -> UpgradeReport:
    closed = next((step for step in journal.steps if step.gate), Step(part="", machine=""))
    return UpgradeReport(
        site=plane.store.site,
        came_from=journal.came_from,
        to=journal.to,
        runs=plane.version(),
        outcome=outcome,
        snapshot=journal.snapshot,
        steps=journal.steps,
        gate=closed.gate,
        found=closed.found,
        code=2 if outcome == "went back" else 0,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _archive(wanted: dict[str, Path]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for part, path in wanted.items():
            archive.add(path.resolve(), arcname=part)
    return packed.getvalue()
