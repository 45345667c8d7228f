"""Which stack's state is at which site, and how the engine gets there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from qhs import whole
from qhs.engine import Engine, Home, prepare
from qhs.errors import UserError
from qhs.progress import Progress
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.objects import STATES, STORE, object_stores
from stacks.name import StackName


def read(twin: Twin) -> dict[str, str]:
    """By stack the site whose object store has its state; the others' are in the state folder."""
    file = twin.state / "homes.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def write(twin: Twin, homes: Mapping[str, str]) -> None:
    """From here on the states are there."""
    whole.write(twin.state / "homes.json", json.dumps(homes, indent=1) + "\n")


def together(known: Mapping[str, str], stacks: Iterable[str]) -> bool:
    """Whether the states of the stacks of each site lie at one place: only there can one hand on to another."""
    at: dict[str | None, set[str | None]] = {}
    for stack in stacks:
        at.setdefault(StackName.parse(stack).site, set()).add(known.get(stack))
    return all(len(places) == 1 for places in at.values())


def changing(twin: Twin, stack: str) -> bool:
    """Take note that copies of a state may be older from here on; whether that was so before."""
    file = _uncopied(twin) / stack
    before = file.exists()
    file.touch()
    return before


def copied(twin: Twin, stack: str) -> None:
    """Every copy is the same again."""
    (_uncopied(twin) / stack).unlink(missing_ok=True)


def uncopied(twin: Twin) -> list[str]:
    """The stacks of which some copy may be older, also where a run was killed."""
    return sorted(file.name for file in _uncopied(twin).iterdir())


def _uncopied(twin: Twin) -> Path:
    folder = twin.state / "uncopied"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def engine(twin: Twin, progress: Progress) -> Engine:
    """The engine of a twin, which finds each stack's state."""
    return at(prepare(twin.state, progress), twin, read(twin))


def at(engine: Engine, twin: Twin, sites: Mapping[str, str], bucket: str = STATES) -> Engine:
    """The same one, for which the states of stacks are in the buckets of these sites."""
    return replace(engine, homes={stack: _home(twin, stack, site, bucket) for stack, site in sites.items()})


def own(estate: Estate, stack: str) -> str:
    """The site at which the state of a stack belongs: the stack's own; where that has no store, the first that has.

    Raises UserError where no site has one.
    """
    stores, site = list(object_stores(estate)), StackName.parse(stack).site
    if not stores:
        raise UserError(
            f"{estate.inventory.environment}: found no site with an object store; wanted one for the state of {stack}",
            f"a machine with the role that serves `{STORE}` in inventories/{estate.inventory.environment}/estate.yaml",
        )
    return site if site in stores else stores[0]


def reached(twin: Twin, site: str, stack: str, bucket: str = STATES) -> list[str]:
    """The start of a command line that runs the rest of it where a bucket of a site can be used."""
    return inside.command(twin, [sys.executable, "-m", "qhs.state.through", twin.name, site, bucket, stack])


def _home(twin: Twin, stack: str, site: str, bucket: str) -> Home:
    return Home(site if bucket == STATES else f"{site}-copies", reached(twin, site, stack, bucket))
