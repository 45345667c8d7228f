"""What a step that restores a copy of the databases says of it, and reports measure objectives by."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stacks.model.catalogue import Strict

RESTORE = "restore"
"""The action."""


class Restored(Strict):
    """Seconds, each."""

    restored_seconds: Annotated[float, Field(ge=0, description="from the first byte until the databases answer")]
    short_seconds: Annotated[float, Field(ge=0, description="from the last change in them to the point asked for")]
