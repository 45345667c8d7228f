"""C-HSM-01: keys lie in a device, not in what stands in for one."""

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
    """Who makes what stands in for a device, as a PKCS#11 module says it."""

    stand_ins: list[str]


class NoStandIn(Rule[Host]):
    """The module on a host of an HSM answers, and is of a device."""

    control = "C-HSM-01"
    name = "no-stand-in"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Host]]:
        if isinstance(resource, Host) and resource.hsm_host:
            yield "device", resource

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        device = known(subject.hsm, "hsm")
        if device is None:
            yield Fault("no module that answers", "one", "run the hsm role again")
        elif device.manufacturer in self.limits.stand_ins:
            yield Fault(f"the module of {device.manufacturer}", "that of a device", "an HSM", limit="soft-hsm")
