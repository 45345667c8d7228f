"""What every component declares: who owns it, its level, which demands it serves (C-TRACE-01, C-LVL-01)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi


class Declared(pulumi.ComponentResource):
    """A component whose declarations stand in the plan, where the policy pack reads them.

    The pack sees outputs, never inputs: a component ends its constructor with `register_outputs(self.declared)`.
    """

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
        self.declared = {**props, "owner": owner, "level": level, "serves": list(serves)}
        super().__init__(token, name, self.declared, opts)
