"""C-NET-17: what goes from one site to another is encrypted on the way."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.known import Resource, known
from policies.live.facts import Host
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict

KERNEL = "kernel"


class Limits(Strict):
    """By what a tunnel encrypts, in strongSwan's words."""

    ciphers: list[str]


class Encrypted(Rule[tuple[Host, str]]):
    """A firewall has its own tunnel to every other site over every carrier, and each tunnel a strong cipher.

    That nothing passes a carrier beside them is shown with the frames that are seen there.
    """

    control = "C-NET-17"
    name = "encrypted"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Host, str]]]:
        if isinstance(resource, Host) and resource.tunnels_wanted:
            for label in (*resource.tunnels_wanted, KERNEL):
                yield label, (resource, label)

    def judge(self, resource: Resource, subject: tuple[Host, str]) -> Iterator[Fault]:
        host, label = subject
        if label == KERNEL:
            in_kernel = known(host.esp_in_kernel, "esp_in_kernel")
            if in_kernel is None:
                yield Fault("no daemon that answers", "charon", "see strongswan.service there")
            elif not in_kernel:
                yield Fault("charon encrypts", "the kernel to", "a kernel that has ESP", limit="no-kernel-esp")
            return
        ciphers = {one.cipher for one in known(host.tunnels, "tunnels") if one.name == label}
        if not ciphers:
            yield Fault("no tunnel", "one that is installed", "see `swanctl --list-sas` and strongswan.service there")
        if weak := ciphers - set(self.limits.ciphers):
            wanted = " or ".join(self.limits.ciphers)
            yield Fault(", ".join(sorted(weak)), wanted, "the wan role's esp_proposals")
