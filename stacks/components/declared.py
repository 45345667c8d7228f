"""What every component declares: who owns it, its level, which demands it serves (C-TRACE-01, C-LVL-01)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pulumi


class Declarations(TypedDict):
    """What a component declares."""

    owner: str
    level: int
    serves: Sequence[str]


class Declared(pulumi.ComponentResource):
    """A component whose declarations stand in the plan, where the policy pack reads them."""

    def __init__(
        self,
        token: str,
        name: str,
        *,
        owner: str,
        level: int,
        serves: Sequence[str],
        props: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        shown = {**props, "owner": owner, "level": level, "serves": list(serves)}
        super().__init__(token, name, shown, opts)
        # Policies are shown what a component registers, not what it was given.
        self.register_outputs(shown)
