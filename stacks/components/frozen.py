"""On the days on which an application must not be changed, what it has is changed by approval alone (S-112, S-113)."""

from __future__ import annotations

from datetime import date

import pulumi

from stacks.approvals import ApprovalError, Approvers
from stacks.model.cloud import TenantPlace

ACTION = "change"


def frozen(place: TenantPlace, approvers: Approvers | None, today: date) -> pulumi.ResourceHookBinding | None:
    """What refuses, in a preview and in an update; None: today it may be changed.

    What is not there yet may come, and what somebody changed by hand is put right: both leave what was declared.
    """
    window = next((one for one in place.freezes if one.first <= today <= one.last), None)
    if window is None:
        return None
    subject = f"{pulumi.get_stack()}::{place.name}"

    def refuse(args: pulumi.ResourceHookArgs) -> None:
        if args.old_inputs == args.new_inputs:
            return
        until = f"{place.name} is not changed until {window.last} is over ({window.why}); found a change of {args.name}"
        if approvers is None:
            raise ValueError(f"{until}, and no qhs:trustAccess that says who approves one. Way out: `qhs up`")
        try:
            approvers.require(ACTION, subject)
        except ApprovalError as error:
            raise ValueError(f"{until}: {error}") from None

    hook = pulumi.ResourceHook(f"frozen-{place.name}", refuse, pulumi.ResourceHookOptions(on_dry_run=True))
    return pulumi.ResourceHookBinding(before_update=[hook], before_delete=[hook])
