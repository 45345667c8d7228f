"""C-NET-13: nobody works as root, so that what is done with its rights has a name."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.known import Resource, known
from policies.live.facts import Host
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """Accounts that may have root's number."""

    superusers: list[str]


class OwnNames(Rule[Host]):
    """Root is one account, which opens by no password and no key; what sudo did stands in the logs by default."""

    control = "C-NET-13"
    name = "own-names"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Host]]:
        if isinstance(resource, Host):
            yield "root", resource

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        if known(subject.superusers, "superusers") != tuple(self.limits.superusers):
            found = ", ".join(known(subject.superusers, "superusers"))
            yield Fault(f"{found} with number 0", ", ".join(self.limits.superusers), "userdel the others")
        if not known(subject.root_locked, "root_locked"):
            yield Fault("a password", "none that opens it", "passwd --lock root")
        if keys := known(subject.root_keys, "root_keys"):
            yield Fault(f"keys in {', '.join(keys)}", "none", "give their owner an account")
        if silent := known(subject.silent_sudo, "silent_sudo"):
            yield Fault(f"sudo told not to log in {', '.join(silent)}", "it logging", "take the line away")
