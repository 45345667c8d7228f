"""What a stack hands on to the one above it: what nobody knows before the lower one is applied (T-A10).

All else both have from the model. Only stacks of one site do: their states lie together, and another site may be dead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pulumi

from stacks.name import StackName


@dataclass(frozen=True)
class Handed:
    """An output, declared once for both sides."""

    name: str
    what: str
    by: str
    """The layer that gives it."""
    to: str
    """The layer that takes it."""

    def give(self, value: pulumi.Output[str]) -> None:
        """Of the stack that runs."""
        pulumi.export(self.name, value)

    def take(self) -> pulumi.Output[str]:
        """As the last update of the stack below left it; where that was never applied, no preview knows it.

        The program fails, in a preview too, where that stack does not have it.
        """
        own = StackName.parse(pulumi.get_stack())
        below = replace(own, layer=self.by)
        at = "/".join((pulumi.get_organization(), pulumi.get_project(), str(below)))
        return pulumi.StackReference(self.name, at).outputs.apply(partial(self._found, below, own))

    def _found(self, below: StackName, own: StackName, outputs: Mapping[str, Any]) -> str:
        if not outputs and pulumi.runtime.is_dry_run():
            return pulumi.UNKNOWN  # type: ignore[return-value]  # an unknown value is of any type
        if not (found := outputs.get(self.name)):
            raise pulumi.RunError(
                f"{below}: found no output {self.name}; wanted what {own} takes from it: {self.what}. "
                f"Way out: `qhs up`, which applies {below} before {own}; where it still lacks it, its program "
                f"(stacks/{self.by}.py) is to give it"
            )
        return str(found)


CLIENTS = Handed("clients", "the certificate, in PEM, by which the site's cluster knows its parts", "signing", "cloud")
