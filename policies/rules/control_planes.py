"""C-K8S-01 to C-K8S-03: how the parts of a cluster's control plane were started."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import PlanFacts, Resource, known
from policies.live.facts import Host
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """By program its options: those with values that are accepted, and those that must have one, whichever."""

    accepted: dict[str, dict[str, list[str]]]
    needed: dict[str, list[str]] = {}


class Started(Rule[tuple[Host, str, str]]):
    """Every program of a control plane runs with the options that the baseline wants."""

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Host, str, str]]]:
        if isinstance(resource, Host) and resource.controls:
            for options in (self.limits.accepted, self.limits.needed):
                for program, names in options.items():
                    for name in names:
                        yield f"{program} --{name}", (resource, program, name)

    def judge(self, resource: Resource, subject: tuple[Host, str, str]) -> Iterator[Fault]:
        host, program, name = subject
        options = known(host.control_plane, "control_plane").get(program)
        if options is None:
            yield Fault("it does not run", "it to", f"see `journalctl -u qhs-{program}` there")
            return
        accepted = self.limits.accepted.get(program, {}).get(name)
        found = options.get(name, "nothing")
        if accepted is not None and found not in accepted:
            yield Fault(found, " or ".join(accepted), "the control_plane role")
        if accepted is None and name not in options:
            yield Fault(found, "one", "the control_plane role")


class NobodyUnknown(Started):
    """Nobody is let in whom the API does not know, and who is may do what his role says."""

    control = "C-K8S-01"
    name = "nobody-unknown"


class KeepsSecrets(Started):
    """Secrets are encrypted, a node changes itself alone, and nothing shows what it is doing."""

    control = "C-K8S-02"
    name = "keeps-secrets"


class Audited(Started):
    """Who did what is written down."""

    control = "C-K8S-03"
    name = "audited"
