"""`qhs plan`: a full preview of every stack of an environment, where no endpoint can be reached."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from qhs.engine import Engine, EngineError, ensure_stack, heard, prepare, run_pulumi
from qhs.errors import UserError
from qhs.folders import CLONE
from qhs.progress import Progress
from stacks.layers import stack_names
from stacks.model import load

# A preview's state is checked and thrown away. By default that is all of it after each resource: with ten times the
# tenants a hundred times the work. An update is not to have this: what it did would be lost with an engine that dies.
CHECKED_ONCE = {"PULUMI_SKIP_CHECKPOINTS": "true"}
# A namespace with nothing but a loopback: whatever tried to reach an endpoint would fail, and be seen.
ALONE = ("unshare", "--map-root-user", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


class Verdict(StrEnum):
    """What the policies say of a plan."""

    ACCEPTED = "accepted"
    UNDECIDED = "undecided"
    """They need a value that no preview knows."""
    REFUSED = "refused"


@dataclass(frozen=True)
class Plan:
    """The preview of one stack."""

    stack: str
    verdict: Verdict
    resources: int
    """To be created: the scratch state knows nothing yet."""
    seconds: float
    said: list[str]
    """What policies report, and warnings."""


@dataclass(frozen=True)
class Report:
    """What `qhs plan` found; its JSON form too."""

    plans: list[Plan]
    limits: list[str]
    """What this environment cannot do, and what stands in for it."""

    @property
    def code(self) -> int:
        """The exit code: 0 all accepted, 2 some refused, 3 some undecided."""
        verdicts = {one.verdict for one in self.plans}
        return 2 if Verdict.REFUSED in verdicts else 3 if Verdict.UNDECIDED in verdicts else 0


def plan(environment: str, progress: Progress) -> Report:
    """Preview all stacks of `environment` at once, on a scratch state.

    Raises ModelError where the data is wrong, UserError where a preview fails or no policy judged it.
    """
    estate = load(environment)
    with tempfile.TemporaryDirectory(prefix="qhs-plan-") as scratch:
        engine = prepare(Path(scratch), progress)
        plans = previews(engine, [str(one) for one in stack_names(estate)], progress)
    return Report(plans, estate.inventory.limit_lines())


def previews(engine: Engine, stacks: Sequence[str], progress: Progress, project: Path = CLONE) -> list[Plan]:
    """Of these stacks of a project, all at once. Raises UserError where one fails or no policy judged it."""
    progress(f"plan: {', '.join(stacks)}")
    engine = replace(engine, environ={**engine.environ, **CHECKED_ONCE})
    with ThreadPoolExecutor(len(stacks)) as pool:
        # All of them first: one that is handed something asks for the stack below it.
        list(pool.map(lambda stack: _made(engine, stack, project), stacks))
        return list(pool.map(lambda stack: _preview(engine, stack, project), stacks))


def _made(engine: Engine, stack: str, project: Path) -> None:
    try:
        ensure_stack(engine, stack, project)
    except EngineError as error:
        raise _no_plan(stack, error) from None


# The engine's closing line of a preview.
_CREATED = re.compile(r"^\s+\+ (\d+) to create", re.MULTILINE)


def _preview(engine: Engine, stack: str, project: Path) -> Plan:
    started = time.monotonic()
    try:
        output = run_pulumi(engine, ["preview"], stack=stack, inside=ALONE, cwd=project)
    except EngineError as error:
        # Anything may end the engine: only a policy that says no is an answer.
        if not heard(error.said).refused:
            raise _no_plan(stack, error) from None
        output = error.said
    said = heard(output)
    if not said.judged:
        raise UserError(f"no policy judged the plan of {stack}", "see why the engine left the policy pack out")
    verdict = Verdict.REFUSED if said.refused else Verdict.UNDECIDED if said.undecided else Verdict.ACCEPTED
    created = _CREATED.search(output)
    resources = int(created[1]) if created else 0
    return Plan(stack, verdict, resources, round(time.monotonic() - started, 1), said.texts)


def _no_plan(stack: str, error: EngineError) -> UserError:
    return UserError(f"no plan of {stack}: {error}", "put right what it names, then `qhs plan`")


_COLOURS = {Verdict.ACCEPTED: "green", Verdict.UNDECIDED: "yellow", Verdict.REFUSED: "red"}


def table(report: Report) -> Group:
    """What every stack would create, whether the policies take it, and what stacks had to say."""
    shown = Table("stack", "resources", "seconds", "verdict")
    for one in report.plans:
        verdict = Text(one.verdict, _COLOURS[one.verdict])
        shown.add_row(one.stack, str(one.resources), f"{one.seconds:.1f}", verdict)
    said = dict.fromkeys(text for one in report.plans for text in one.said)
    return Group(shown, *map(Text, said), *map(Text, report.limits))
