"""The environments that there are: one inventory each."""

from __future__ import annotations

from enum import StrEnum


class Environment(StrEnum):
    """An inventory of this project."""

    TWIN = "twin"
    PROD = "prod"
