"""C-K8S-04 and C-K8S-08: what runs in a cluster needs no right on its node, and is the image that was looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies.cluster import CloudSite, Container, PodSpec, Workload
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault

FIX = "stacks/components/tenant_canary.py declares it"
BY_DIGEST = re.compile(r"(registry\.[a-z0-9.-]+)/[a-z0-9/-]+@sha256:[0-9a-f]{64}")


class Unprivileged(Rule[Workload]):
    """Nothing of a pod is root, may become it, writes into its image, or is known to the API."""

    control = "C-K8S-04"
    name = "unprivileged"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Workload]]:
        if isinstance(resource, Workload):
            yield "pods", resource

    def judge(self, resource: Resource, subject: Workload) -> Iterator[Fault]:
        pods = _pods(subject)
        own = known(pods.security_context, "securityContext")
        seccomp = known(known(own.seccomp_profile, "seccompProfile").type, "type")
        for found, wanted, holds in (
            ("pods that may be root", "runAsNonRoot", known(own.run_as_non_root, "runAsNonRoot")),
            (
                f"the profile {seccomp!r} of calls",
                "RuntimeDefault or Localhost",
                seccomp in {"RuntimeDefault", "Localhost"},
            ),
            ("a token of the API", "automountServiceAccountToken: false", not _token(pods)),
            ("a namespace of the node", "hostNetwork, hostPID and hostIPC: false", not _on_the_node(pods)),
            ("a container that is or becomes more", "none of it", not any(map(_more, _containers(pods)))),
            (
                "a container that writes into its image",
                "readOnlyRootFilesystem",
                all(map(_read_only, _containers(pods))),
            ),
        ):
            if not holds:
                yield Fault(found, wanted, FIX)


class Pinned(Rule[Workload]):
    """An image by its digest is the same wherever it is fetched, and the registry of the site alone has it."""

    control = "C-K8S-08"
    name = "pinned"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Workload]]:
        if isinstance(resource, Workload):
            yield "images", resource

    def judge(self, resource: Resource, subject: Workload) -> Iterator[Fault]:
        for one in _containers(_pods(subject)):
            image = known(one.image, "image")
            # A cluster that runs does not say which one is its own: its nodes fetch from no other (roles/containerd).
            own = {known(site.registry, "registry") for site in self.plan.each(CloudSite)}
            found = BY_DIGEST.fullmatch(image)
            if not found or (own and found[1] not in own):
                yield Fault(f"the image {image!r}", "one of the site's registry, by its digest", FIX)


def _pods(workload: Workload) -> PodSpec:
    return known(known(known(workload.spec, "spec").template, "template").spec, "spec")


def _containers(pods: PodSpec) -> list[Container]:
    found = (*known(pods.containers, "containers"), *known(pods.init_containers, "initContainers"))
    return [known(one, "container") for one in found]


def _token(pods: PodSpec) -> bool:
    return known(pods.automount_service_account_token, "automountServiceAccountToken")


def _on_the_node(pods: PodSpec) -> bool:
    return any(known(one, name) for name, one in vars(pods).items() if name.startswith("host_"))


def _more(container: Container) -> bool:
    own = known(container.security_context, "securityContext")
    dropped = known(known(own.capabilities, "capabilities").drop, "drop")
    escalates = known(own.allow_privilege_escalation, "allowPrivilegeEscalation")
    return known(own.privileged, "privileged") or escalates or "ALL" not in dropped


def _read_only(container: Container) -> bool:
    return known(
        known(container.security_context, "securityContext").read_only_root_filesystem, "readOnlyRootFilesystem"
    )
