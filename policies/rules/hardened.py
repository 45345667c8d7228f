"""C-HOST-02: what keeps a machine from being taken, and tells when it was."""

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
    """What must be on, off, and not there."""

    audit: list[str]
    """Units that write down what is done on the machine."""
    hooks: list[str]
    """Where the firewall drops what no rule lets through."""
    apt: list[str]
    """Switches of apt's own daily work that are on."""
    timers: list[str]
    """Units that start it."""
    packages: list[str]
    """That carry passwords or data in the clear."""
    ports: list[str]
    """On which such programs listen."""
    kernel: dict[str, int]


class Hardened(Rule[Host]):
    """What all rules here have in common: a machine, and the thresholds of the control."""

    control = "C-HOST-02"
    label = ""

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Host]]:
        if isinstance(resource, Host):
            yield self.label, resource


class Audit(Hardened):
    """The kernel's audit is on, and its daemon writes it down."""

    name = label = "audit"

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        units = known(subject.units, "units")
        if off := [name for name in self.limits.audit if not (name in units and units[name].active)]:
            yield Fault(f"{', '.join(off)} not active", "it running", "run the role that owns it", limit="no-audit")


class Drops(Hardened):
    """What no rule lets through is dropped, by a chain of each hook."""

    name = label = "firewall"

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        chains = known(subject.chains, "chains")
        dropping = {one.hook for one in chains if (one.family, one.type, one.policy) == ("inet", "filter", "drop")}
        if open_ := [hook for hook in self.limits.hooks if hook not in dropping]:
            wanted = "an inet chain with policy drop at each hook"
            yield Fault(
                f"none that drops at {', '.join(open_)}", wanted, "systemctl restart qhs-ruleset, then `qhs up`"
            )


class Confined(Hardened):
    """AppArmor is on, and enforces every profile that it has."""

    name = label = "apparmor"

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        if not known(subject.confined, "confined"):
            yield Fault("AppArmor off", "it on", "a kernel that has it, and apparmor=1", limit="no-apparmor")
        if complaining := known(subject.complaining, "complaining"):
            yield Fault(f"profiles that only complain: {', '.join(complaining)}", "them enforced", "aa-enforce them")


class Updates(Hardened):
    """Security updates come by themselves."""

    name = label = "updates"

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        apt, units = known(subject.apt, "apt"), known(subject.units, "units")
        if off := [key for key in self.limits.apt if apt.get(key, "0") == "0"]:
            yield Fault(f"off: {', '.join(off)}", "them on", "run the base role again")
        if idle := [name for name in self.limits.timers if not (name in units and units[name].active)]:
            yield Fault(f"{', '.join(idle)} not active", "them active", "run the base role again")


class NothingOld(Hardened):
    """Nothing that carries passwords or data in the clear is installed or listens."""

    name = "nothing-old"
    label = "legacy"

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        packages, listening = known(subject.packages, "packages"), known(subject.listening, "listening")
        found = [name for name in self.limits.packages if name in packages]
        found += [port for port in self.limits.ports if port in listening]
        if found:
            yield Fault(", ".join(found), "none of them", "remove what installed or started it")


class Kernel(Rule[tuple[Host, str]]):
    """The kernel gives nothing away, and neither takes nor follows what would lead traffic astray."""

    control = "C-HOST-02"
    name = "kernel"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Host, str]]]:
        if isinstance(resource, Host):
            for key in self.limits.kernel:
                yield f"kernel {key}", (resource, key)

    def judge(self, resource: Resource, subject: tuple[Host, str]) -> Iterator[Fault]:
        host, key = subject
        wanted, found = self.limits.kernel[key], known(host.kernel, "kernel").get(key)
        if found != wanted:
            limit = "" if key.startswith("net.") else "host-kernel"
            yield Fault(str(found), str(wanted), "run the base role again, or boot the machine", limit=limit)
