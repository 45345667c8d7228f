"""C-HOST-01: who comes in by SSH has shown a key, is not root, and is on record."""

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
    """What options of sshd may say."""

    options: dict[str, list[str]]


class Ssh(Rule[tuple[Host, str]]):
    """Each option says what it may, for everybody and in every `Match`."""

    control = "C-HOST-01"
    name = "ssh"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Host, str]]]:
        if isinstance(resource, Host):
            for option in self.limits.options:
                yield f"sshd {option}", (resource, option)

    def judge(self, resource: Resource, subject: tuple[Host, str]) -> Iterator[Fault]:
        host, option = subject
        allowed = self.limits.options[option]
        found = known(host.sshd, "sshd").get(option, ("nothing",))
        if wrong := [value for value in dict.fromkeys(found) if value not in allowed]:
            yield Fault(", ".join(wrong), " or ".join(allowed), "the base role owns sshd's settings: run it again")
