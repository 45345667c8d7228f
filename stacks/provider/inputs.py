"""What the inputs of every kind have in common. No network, no Pulumi."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

Plain = dict[str, Any]
"""The properties of a resource as plain Python values."""


class Input(BaseModel):
    """A part of a resource's inputs; what it does not name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def faults(error: ValidationError) -> dict[str, str]:
    """What is wrong, by property path."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False):
        path = ".".join(str(part) for part in item["loc"])
        found[path] = f"found {str(item['input'])[:80]!r}; {item['msg']}"
    return found
