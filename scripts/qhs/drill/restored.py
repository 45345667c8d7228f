"""What a step that restores a copy of the databases says of it, and reports measure objectives by."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stacks.model.catalogue import Strict

RESTORE, SERVE_COPY = "restore", "serve-copy"
"""The actions."""


class Restored(Strict):
    """Seconds, each."""

    restored_seconds: Annotated[float, Field(ge=0, description="from the first byte until they serve")]
    short_seconds: Annotated[float, Field(ge=0, description="from the last change in them to the point")]
