"""On the days on which an application must not be changed, what it has is changed by approval alone (S-112, S-113)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import pulumi

from stacks.approvals import ApprovalError, Approvers
from stacks.model.catalogue import Tenant

type Whose = Callable[[pulumi.ResourceHookArgs], str]
"""Given a resource, it says which application has it."""

ACTION = "change"
NAME = "frozen"
"""Of the hook, for every application and every day. What goes is judged by the hook that the state has beside it, and
the engine refuses one that no program has registered: so all have it always, also where none is declared any more."""


@dataclass(frozen=True)
class Freezes:
    """The days of all applications of an estate, wherever they run, and who may approve a change on one of them."""

    tenants: Mapping[str, Tenant]
    today: date
    """In Viet Nam."""
    approvers: Approvers | None
    """None: nobody says who."""

    def hook(self, whose: Whose) -> pulumi.ResourceHook:
        """What refuses a change, in a preview and in an update.

        What is not there yet may come, and what somebody changed by hand is put right: both leave what was declared.
        A `pulumi destroy` needs it too: without `--run-program` the engine refuses it.
        """
        stack = pulumi.get_stack()

        def refuse(args: pulumi.ResourceHookArgs) -> None:
            if args.old_inputs != args.new_inputs and (why := self._why(tenant := whose(args))):
                self._require(f"{stack}::{tenant}", f"{tenant} {why}; found a change of {args.name}")

        return pulumi.ResourceHook(NAME, refuse, pulumi.ResourceHookOptions(on_dry_run=True))

    def _why(self, tenant: str) -> str:
        """Why an application must not be changed today; empty: it may be."""
        if tenant not in self.tenants:
            return "is in the catalogue no more, so nobody knows on which days it must not be changed"
        windows = self.tenants[tenant].freeze_windows
        found = next((one for one in windows if one.first <= self.today <= one.last), None)
        return f"is not changed until {found.last} is over ({found.why})" if found else ""

    def _require(self, subject: str, why: str) -> None:
        if self.approvers is None:
            raise ValueError(f"{why}, and no qhs:trustAccess that says who approves one. Way out: `qhs up`")
        try:
            self.approvers.require(ACTION, subject)
        except ApprovalError as error:
            raise ValueError(f"{why}: {error}") from None


def frozen(hook: pulumi.ResourceHook) -> pulumi.ResourceHookBinding:
    """It is asked before something is changed and before it goes."""
    return pulumi.ResourceHookBinding(before_update=[hook], before_delete=[hook])
