"""`qhs plan`: a full preview of every stack of an environment, where no endpoint can be reached."""

from __future__ import annotations

import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from qhs.engine import Engine, EngineError, ensure_stack, prepare, run_pulumi
from qhs.progress import Progress
from stacks.model import load
from stacks.name import StackName

# A namespace with nothing but a loopback: whatever tried to reach an endpoint would fail, and be seen.
ALONE = ("unshare", "--map-root-user", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


@dataclass(frozen=True)
class Plan:
    """The preview of one stack."""

    stack: str
    ok: bool
    resources: int
    """To be created: the scratch state knows nothing yet."""
    seconds: float
    said: str
    """Warnings of a plan that is fine; why not, of one that is not."""


def plan(environment: str, progress: Progress) -> list[Plan]:
    """Preview all stacks of `environment` at once, on a scratch state. Raises ModelError where the data is wrong."""
    estate = load(environment)
    with tempfile.TemporaryDirectory(prefix="qhs-plan-") as scratch:
        engine = prepare(Path(scratch), progress)
        stacks = [str(StackName(environment, site, "network")) for site in estate.active_sites]
        progress(f"plan: {', '.join(stacks)}")
        with ThreadPoolExecutor(len(stacks)) as pool:
            return list(pool.map(lambda stack: _preview(engine, stack), stacks))


def _preview(engine: Engine, stack: str) -> Plan:
    started = time.monotonic()
    heard: list[str] = []
    try:
        ensure_stack(engine, stack)
        said = run_pulumi(engine, ["preview", "--json"], stack=stack, inside=ALONE, on_line=heard.append)
    except EngineError as error:
        return Plan(stack, False, 0, round(time.monotonic() - started, 1), error.output)
    shown = json.loads(said)
    warnings = [one["message"].strip() for one in shown.get("diagnostics", []) if one["severity"] == "warning"]
    created = shown["changeSummary"].get("create", 0)
    return Plan(stack, True, created, round(time.monotonic() - started, 1), "\n".join(warnings))


def table(plans: list[Plan]) -> Table:
    """What every stack would create, and what the policies say of it."""
    shown = Table("stack", "resources", "seconds", "verdict", "said")
    for one in plans:
        verdict = "[green]accepted[/green]" if one.ok else "[red]refused[/red]"
        shown.add_row(one.stack, str(one.resources), f"{one.seconds:.1f}", verdict, one.said)
    return shown
