"""`qhs plan`: a full preview of every stack of an environment, where no endpoint can be reached."""

from __future__ import annotations

import re
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

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


@dataclass(frozen=True)
class Report:
    """What `qhs plan` found; its JSON form too."""

    plans: list[Plan]
    limits: list[str]
    """What this environment cannot do, and what stands in for it."""


def plan(environment: str, progress: Progress) -> Report:
    """Preview all stacks of `environment` at once, on a scratch state. Raises ModelError where the data is wrong."""
    estate = load(environment)
    with tempfile.TemporaryDirectory(prefix="qhs-plan-") as scratch:
        engine = prepare(Path(scratch), progress)
        stacks = [str(StackName(environment, site, "network")) for site in estate.active_sites]
        progress(f"plan: {', '.join(stacks)}")
        with ThreadPoolExecutor(len(stacks)) as pool:
            plans = list(pool.map(lambda stack: _preview(engine, stack), stacks))
    return Report(plans, estate.inventory.limit_lines())


# The engine's closing line of a preview, and its warnings.
_CREATED = re.compile(r"^\s+\+ (\d+) to create", re.MULTILINE)
_WARNING = re.compile(r"^\s+warning: (.+)$", re.MULTILINE)


def _preview(engine: Engine, stack: str) -> Plan:
    started = time.monotonic()
    try:
        ensure_stack(engine, stack)
        said = run_pulumi(engine, ["preview"], stack=stack, inside=ALONE)
    except EngineError as error:
        return Plan(stack, False, 0, round(time.monotonic() - started, 1), error.output)
    created = _CREATED.search(said)
    warnings = "\n".join(dict.fromkeys(_WARNING.findall(said)))
    resources = int(created[1]) if created else 0
    return Plan(stack, True, resources, round(time.monotonic() - started, 1), warnings)


def table(report: Report) -> Group:
    """What every stack would create, whether the policies take it, and what stacks had to say."""
    shown = Table("stack", "resources", "seconds", "verdict")
    for one in report.plans:
        verdict = "[green]accepted[/green]" if one.ok else "[red]refused[/red]"
        shown.add_row(one.stack, str(one.resources), f"{one.seconds:.1f}", verdict)
    return Group(shown, *(Text(one.said) for one in report.plans if one.said), *map(Text, report.limits))
