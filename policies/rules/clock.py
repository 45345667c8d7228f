"""C-TIME-01: one time everywhere, from inside the estate."""

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
    """How many servers are enough, and how far a clock may be off."""

    servers: int
    offset_ms: int


class InternalTime(Rule[tuple[Host, str]]):
    """A machine follows several time servers, all of them machines of the estate, and is close to them."""

    control = "C-TIME-01"
    name = "internal-time"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))
        self.own = {str(address) for host in plan.each(Host) for address in host.addresses}

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Host, str]]]:
        if isinstance(resource, Host):
            for label in ("time servers", "time of others", "offset", "steering"):
                yield label, (resource, label)

    def judge(self, resource: Resource, subject: tuple[Host, str]) -> Iterator[Fault]:
        host, label = subject
        clock = known(host.clock, "clock")
        servers = [one for one in clock.sources if one.server]
        limits = self.limits
        near = [one.name for one in servers if one.answers and one.offset_ms < limits.offset_ms]
        usable = self.own.intersection(near)
        others = [one.name for one in servers if one.name not in self.own]
        if label == "time servers" and len(usable) < limits.servers:
            found = f"{len(usable)} usable of the estate"
            yield Fault(
                found, f"{limits.servers} or more", "see `chronyc sources` there, and the flow to the time servers"
            )
        if label == "time of others" and others:
            yield Fault(", ".join(others), "machines of the estate alone", "run the time role again")
        if label == "offset" and not (clock.synchronised and clock.offset_ms < limits.offset_ms):
            found = f"{clock.offset_ms:.1f} ms" if clock.synchronised else "not synchronised"
            yield Fault(found, f"less than {limits.offset_ms} ms", "see `chronyc tracking` there")
        if label == "steering" and not clock.steers:
            yield Fault("chronyd -x", "a clock that chronyd steers", "run the time role again", limit="no-steering")
