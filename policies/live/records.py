"""What an estate has on record of what was done with it, as facts."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from policies.known import Facts, Resource

TYPE: Final = "qhs:live:Drills"


class Drill(Facts):
    """One that is on record."""

    plan: str
    ended: datetime
    faults: tuple[str, ...]
    """Why it shows nothing: it failed, or nobody vouches for its report."""


class Drills(Resource):
    """Those of an estate; none: nothing was ever tried."""

    type: str = TYPE
    at: datetime
    """When they were looked up."""
    held: tuple[Drill, ...]


def urn(environment: str) -> str:
    """How verdicts and waivers name them."""
    return f"urn:qhs:{environment}::{TYPE}::drills"
