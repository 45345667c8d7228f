"""Choosing the site that is to take writes. Who may is decided before: `qhs drill` gathers the evidence."""

from __future__ import annotations

from typing import Literal

from qhs.errors import UserError
from qhs.folders import CLONE
from qhs.twin.asking import ask
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.estate import LEASE

PROGRAM = CLONE / "roles" / "lease" / "files" / "qhs_lease.py"

type Verb = Literal["choose", "take-back"]


def choose(twin: Twin, estate: Estate, site: str, instead_of: str, *, verb: Verb = "choose") -> None:
    """Have `site` take writes from now on; nothing where it was chosen already. Raises UserError.

    The databases follow by themselves: those of the other site end their writes in order, if they can, and nobody takes
    any before the lease of that site is given back or has run out. To choose the one that is chosen (`instead_of` it)
    has it wait no longer for the log of the other. By the verb `take-back` it is refused where the other has had the
    lease since it was chosen.
    """
    said = []
    for name in (one.name for place in estate.active_sites for one in estate.with_role(place, LEASE)):
        answer = ask(twin, PROGRAM.read_text(), {name: [verb, site, instead_of]})[name]
        if not answer.missing:
            return
        said.append(f"{name}: {answer.missing}")
    raise UserError(
        f"{site} could not be chosen instead of {instead_of}: {'; '.join(said)}",
        "`qhs lease status` says how it stands; a majority of its members has to answer",
    )
