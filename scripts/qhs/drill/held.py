"""Drills as they are held: where their journals lie, which one is not over, and that there is one at a time."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from qhs import lock
from qhs.drill.journal import Began, Journal, Objective, is_over, journals
from qhs.drill.plan import Plan, Script
from qhs.drill.runner import go_on
from qhs.errors import UserError
from qhs.folders import CLONE
from qhs.twin.names import Twin
from stacks.model import Estate

VERSIONS = ("pulumi", "ansible-core", "pydantic")
"""Packages that a report names beside Python."""


def folder(twin: Twin) -> Path:
    """A folder a drill."""
    return twin.state / "drills"


@contextmanager
def alone(twin: Twin) -> Iterator[None]:
    """No second drill runs beside this one. Raises UserError."""
    with lock.alone(folder(twin) / ".lock", f"a drill of twin {twin.name}"):
        yield


def unfinished(twin: Twin) -> Journal | None:
    """The one that is not over. Raises UserError where that is not whole; what became of those before holds up none."""
    return next((Journal.read(one) for one in reversed(journals(folder(twin)).values()) if not is_over(one)), None)


def opened(twin: Twin, script: Script, back: bool, first: Callable[[], Began]) -> Journal:
    """The journal to go on with, whatever its plan's file says by now, or a new one.

    Raises UserError where another drill is half-way.
    """
    journal = unfinished(twin)
    if journal is None:
        if back:
            raise UserError("no drill is half-way; wanted one to go back with", "`qhs drill status`")
        now = datetime.now(UTC)
        return Journal.begin(folder(twin) / f"{now:%Y%m%dT%H%M%S}-{script.name}", script.digest, first())
    own = journal.began
    if own.name != script.name:
        raise UserError(
            f"the drill {journal.folder.name} is half-way from {own.old} to {own.new}; wanted it over first",
            f"`qhs drill {own.name}` goes on with it, `qhs drill {own.name} --back` undoes it",
        )
    go_on(journal, back=back)
    return journal


def began(estate: Estate, script: Script, old: str, new: str) -> Began:
    """What a journal begins with."""
    return Began(
        name=script.name,
        plan=script.text,
        environment=estate.inventory.environment,
        old=old,
        new=new,
        commit=_commit(),
        versions={"python": platform.python_version(), **{one: metadata.version(one) for one in VERSIONS}},
        objectives=[*objectives(estate, replica=not script.plan.restores)] if script.plan.measured else [],
    )


def objectives(estate: Estate, *, replica: bool) -> Iterator[Objective]:
    """Of every application whose tier has a replica; or of the others, which come back from copies alone."""
    for name, tenant in sorted(estate.catalogue.tenants.items(), key=lambda one: (one[1].tier, one[0])):
        tier = estate.catalogue.tiers[tenant.tier]
        if tier.replica == replica:
            yield Objective(
                tenant=name, title=tenant.title, tier=tenant.tier, rto=tier.rto_minutes * 60, rpo=tier.rpo_minutes * 60
            )


def direction(estate: Estate, plan: Plan, active: str, sites: list[str]) -> tuple[str, str]:
    """From which site to which. Raises UserError where it is there already."""
    home = estate.inventory.signing.founds
    if active not in sites:
        raise UserError(
            f"found the lease with {active or 'nobody'}; wanted one of {', '.join(sites)}", "`qhs lease status`"
        )
    if plan.begins == "elsewhere" and active == home:
        raise UserError(f"{home} takes writes, where they belong; nothing is to be brought back", "`qhs lease status`")
    new = home if plan.begins == "elsewhere" else next(one for one in sites if one != active)
    return active, new


def _commit() -> str:
    """Of the clone; with a mark where it holds what is not committed."""
    told = ["git", "-C", str(CLONE), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()
