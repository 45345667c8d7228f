"""C-K8S-04 and C-K8S-05: what the place of an application in a cluster lets its parts do."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.cluster import LimitRange, Namespace, NetworkPolicy, Object, ResourceQuota
from policies.facts import PlanFacts
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict

BOTH = {"Ingress", "Egress"}
FIX = "stacks/components/cloud_tenant.py declares it"


class Limits(Strict):
    """The labels of a namespace by which an API refuses pods, and what is accepted of each."""

    labels: dict[str, list[str]]


class Restricted(Rule[tuple[Namespace, str]]):
    """The API takes only pods into a namespace that need no right on their node."""

    control = "C-K8S-04"
    name = "restricted"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Namespace, str]]]:
        if isinstance(resource, Namespace):
            for label in self.limits.labels:
                yield label, (resource, label)

    def judge(self, resource: Resource, subject: tuple[Namespace, str]) -> Iterator[Fault]:
        namespace, label = subject
        accepted = self.limits.labels[label]
        found = known(known(known(namespace.metadata, "metadata").labels, "labels").get(label, "nothing"), label)
        if found not in accepted:
            yield Fault(found, " or ".join(accepted), FIX)


class Fenced(Rule[tuple[Namespace, str]]):
    """Of a namespace nothing is said or heard that no policy names, and what it uses is bounded."""

    control = "C-K8S-05"
    name = "fenced"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Namespace, str]]]:
        if isinstance(resource, Namespace):
            for label in ("default", "quota", "limits"):
                yield label, (resource, label)

    def judge(self, resource: Resource, subject: tuple[Namespace, str]) -> Iterator[Fault]:
        namespace, label = subject
        if label == "default" and not any(_denies(one) for one in self._within(NetworkPolicy, namespace)):
            yield Fault("no policy that denies all", "one of every pod in both directions without a rule", FIX)
        if label == "quota" and not any(_bounds(one) for one in self._within(ResourceQuota, namespace)):
            yield Fault("no quota of memory and processors", "one", FIX)
        if label == "limits" and not self._within(LimitRange, namespace):
            yield Fault("no limits of a container that names none", "some", FIX)

    def _within[O: Object](self, kind: type[O], namespace: Namespace) -> list[O]:
        name = known(known(namespace.metadata, "metadata").name, "name")
        return [
            one for one in self.plan.each(kind) if known(known(one.metadata, "metadata").namespace, "namespace") == name
        ]


def _denies(policy: NetworkPolicy) -> bool:
    spec = known(policy.spec, "spec")
    whole = known(spec.pod_selector, "podSelector") == {} and set(known(spec.policy_types, "policyTypes")) >= BOTH
    return whole and not known(spec.ingress, "ingress") and not known(spec.egress, "egress")


def _bounds(quota: ResourceQuota) -> bool:
    return {"requests.cpu", "limits.memory"} <= known(known(quota.spec, "spec").hard, "hard").keys()
