"""C-K8S-01 to C-K8S-03 and C-K8S-06: how the parts of a cluster were started; C-HOST-02 of what its nodes run on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.known import Resource, known
from policies.live.facts import Host
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict


class Limits(Strict):
    """By program its options: those with values that are accepted, and those that must have one, whichever."""

    accepted: dict[str, dict[str, list[str]]]
    needed: dict[str, list[str]] = {}
    ports: list[str] = []
    """Where other machines may reach one."""


AGENT: Final = "kubelet"
NODES: Final = {AGENT: "node", "kube-proxy": "node", "kube-router": "pod_policies"}
"""The programs of a node, with the roles that start them; the others are a control plane's."""
STORE: Final = "etcd"
BESIDE: Final = {STORE: "etcd", "metrics-server": "cluster_metrics"}
"""What runs on a control plane beside the API's own parts, with the roles that start it."""


class Started(Rule[tuple[Host, str, str]]):
    """Every program of a cluster runs with the options that the baseline wants."""

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Host, str, str]]]:
        programs = dict.fromkeys((*self.limits.accepted, *self.limits.needed)) if isinstance(resource, Host) else ()
        for program in programs:
            if isinstance(resource, Host) and (resource.node if program in NODES else resource.controls):
                yield program, (resource, program, "")
                for name in (*self.limits.accepted.get(program, ()), *self.limits.needed.get(program, ())):
                    yield f"{program} --{name}", (resource, program, name)

    def judge(self, resource: Resource, subject: tuple[Host, str, str]) -> Iterator[Fault]:
        host, program, name = subject
        options = known(host.cluster, "cluster").get(program)
        role = (NODES | BESIDE).get(program, "control_plane")
        if options is None or not name:
            if options is None and not name:
                yield Fault("it does not run", "it to", f"see `journalctl -u qhs-{program}` there")
            return
        accepted = self.limits.accepted.get(program, {}).get(name)
        found = options.get(name, "nothing")
        if accepted is not None and found not in accepted:
            yield Fault(found, " or ".join(accepted), f"the {role} role")
        if accepted is None and name not in options:
            yield Fault(found, "one", f"the {role} role")


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


class KnownClients(Started):
    """The store of a cluster lets nobody in without a certificate, and has no members but its own."""

    control = "C-K8S-06"
    name = "known-clients"


class OwnDoors(Rule[Host]):
    """A control plane is a machine of its own: nothing else answers there, and its store never in the clear."""

    control = "C-K8S-06"
    name = "own-doors"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Host]]:
        if isinstance(resource, Host) and resource.controls:
            yield "doors", resource

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        ports = Limits.model_validate(self.baseline.thresholds(self.control)).ports
        if others := [one for one in known(subject.listening, "listening") if one not in ports]:
            yield Fault(", ".join(others), f"nothing but {', '.join(ports)}", "remove what listens there")
        store = known(subject.cluster, "cluster").get(STORE, {})
        urls = [one for name, text in store.items() if name.endswith("-urls") for one in text.split(",")]
        if clear := [one for one in urls if not one.startswith("https://")]:
            yield Fault(", ".join(clear), "https alone", "the etcd role")


class OwnGroups(Rule[Host]):
    """What a node's containers use is bounded by its own kernel's control groups."""

    control = "C-HOST-02"
    name = "own-groups"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Host]]:
        if isinstance(resource, Host) and resource.node:
            yield "control groups", resource

    def judge(self, resource: Resource, subject: Host) -> Iterator[Fault]:
        agent = known(subject.cluster, "cluster").get(AGENT)  # that it runs is C-K8S-01's
        if agent is not None and (found := agent.get("failCgroupV1")) != "true":
            wanted = "version 2 or no start"
            yield Fault(f"failCgroupV1 {found}", wanted, "a kernel of the node's own", limit="lent-cgroups")
