"""What a fault does to an estate, by the names of machines and wires, and the note of it that outlives a killed run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field

from qhs import whole
from qhs.drill.journal import Began, Begun, Journal
from qhs.drill.selftest.faults import Client, Cuts, PowersOff, Runs
from qhs.errors import UserError
from qhs.progress import Progress
from stacks.model.catalogue import Strict

FOLDER, MARK = "selftest", "fault.json"
"""Below the folder of drills: what was tried, and which fault is in."""


class Ran(Strict):
    """A command on machines, and what undoes it; empty: nothing has to."""

    kind: Literal["ran"] = "ran"
    machines: list[str]
    does: str
    undoes: str


class Cut(Strict):
    """Wires, as `qhs twin cut` knows them."""

    kind: Literal["cut"] = "cut"
    wires: str


class Dark(Strict):
    """A machine without power."""

    kind: Literal["dark"] = "dark"
    machine: str


class Writing(Strict):
    """The client that stands at a site; it is ended, or dies, or goes on."""

    kind: Literal["writing"] = "writing"
    site: str
    how: Literal["ended", "dies", "goes on"] = "goes on"


class Half(Strict):
    """A drill that has begun, by the name of its folder. No step of it is ever begun."""

    kind: Literal["half"] = "half"
    run: str


type Deed = Annotated[Ran | Cut | Dark | Writing | Half, Field(discriminator="kind")]


class Ways(Protocol):
    """How faults come into an estate, and out of it."""

    def meant(self, inject: Runs | Cuts | PowersOff | Client, began: Began) -> Deed:
        """By names. Raises UserError."""

    def do(self, deed: Deed) -> None:
        """Twice is as good as once. Raises UserError."""

    def undo(self, deed: Deed) -> None:
        """Also where it was not done, or in part. Raises UserError."""


class Mark(Strict):
    """Which fault is in."""

    fault: str
    deeds: list[Deed]

    def write(self, drills: Path) -> None:
        """On the disk before any of it is done."""
        (drills / FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
        whole.write(drills / FOLDER / MARK, self.model_dump_json(indent=1) + "\n")


def heal(drills: Path, ways: Ways, progress: Progress) -> None:
    """Take out the fault that is in, whoever put it in; nothing where none is. Raises UserError: then it still is."""
    path = drills / FOLDER / MARK
    if not path.exists():
        return
    mark = Mark.model_validate_json(path.read_text())
    progress(f"takes out {mark.fault}")
    for deed in reversed(mark.deeds):
        try:
            _undo(drills, ways, deed)
        except UserError as error:
            raise UserError(
                f"the fault {mark.fault} of `qhs drill selftest` is still in ({path}): {error.what}",
                f"{error.way_out}; then the next drill or selftest takes it out",
            ) from None
    path.unlink()


def _undo(drills: Path, ways: Ways, deed: Deed) -> None:
    if not isinstance(deed, Half):
        ways.undo(deed)
        return
    folder = drills / deed.run
    if folder.exists() and not any(Journal.read(folder).events(Begun)):
        shutil.rmtree(folder)
