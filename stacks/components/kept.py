"""What holds something goes by approval alone: a preview says so, before anything of an update is done (T-A11)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pulumi

type Judge = Callable[[str, dict[str, Any]], None]
"""Given a resource's URN and inputs, it raises with what the user is told where the resource must not go."""

NAME = "kept"
"""Of the hook. The state has it beside each resource, so a program registers it although it declares none any more."""


def kept(judges: Mapping[str, Judge]) -> pulumi.ResourceHookBinding:
    """What asks the judge of a resource's type before that is taken away, in a preview and in an update.

    A `pulumi destroy` needs the judge too: without `--run-program` the engine refuses it.
    """

    async def refuse(args: pulumi.ResourceHookArgs) -> None:
        # The engine's own questions to the program are answered meanwhile.
        await asyncio.to_thread(judges[args.type], args.urn, dict(args.old_inputs or {}))

    hook = pulumi.ResourceHook(NAME, refuse, pulumi.ResourceHookOptions(on_dry_run=True))
    return pulumi.ResourceHookBinding(before_delete=[hook])
