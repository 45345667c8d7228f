"""C-TSA-01, C-TSA-02: time-stamps, as an application of the site gets one."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.known import Resource, known
from policies.live.facts import Host, TimeStamp
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict

ASK_THERE = "see the journal of qhs-signer on the hosts of the site's HSMs"


class Limits(Strict):
    """How exact a time-stamp is at least; seconds."""

    accuracy_s: float


class Stamped(Rule[Host]):
    """Who asks for a time-stamp gets one that others take."""

    control = "C-TSA-01"
    name = "stamped"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Host]]:
        if isinstance(resource, Host) and resource.time_stamps_of:
            yield "time-stamp", resource

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        stamp = known(subject.time_stamp, "time_stamp")
        if stamp is None:
            yield Fault(
                "none asked for", f"one of {subject.time_stamps_of}", "have the authority's certificate (qhs up)"
            )
        elif not stamp.taken:
            yield Fault("none that OpenSSL takes", "one by RFC 3161 over what was asked", ASK_THERE)


class ToTheSecond(Rule[TimeStamp]):
    """Its time is the right one, by the clock of who asked, and it vouches for that. What is none has no time."""

    control = "C-TSA-02"
    name = "to-the-second"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, TimeStamp]]:
        if isinstance(resource, Host) and resource.time_stamps_of:
            stamp = known(resource.time_stamp, "time_stamp")
            if stamp is not None and stamp.taken:
                yield "accuracy", stamp

    def judge(self, resource: Resource, subject: TimeStamp) -> Iterator[Fault]:
        stated, most = subject.accuracy_s, self.limits.accuracy_s
        if stated is None or stated > most:
            found = "none stated" if stated is None else f"{stated:g} s stated"
            yield Fault(found, f"{most:g} s or better", ASK_THERE)
        if subject.off_s > most:
            yield Fault(f"a time that is {subject.off_s:.1f} s off", f"{most:g} s or better", ASK_THERE)
