"""Typed facts about what stands in the cluster of a site."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from policies.known import Bounded, Facts, Maybe, Resource, Texts


class Room(Facts):
    """What nodes have, all together."""

    cpu: Maybe[float]
    """Cores."""
    memory_gib: Maybe[float]
    gpu: Maybe[int]


class CloudSite(Bounded):
    """The cluster of a site."""

    site: Maybe[str]
    controls: Maybe[dict[str, Maybe[str]]]
    """The rack of each of its control planes."""
    registry: Maybe[str]
    """Which alone its images come from."""
    nodes: Maybe[dict[str, Maybe[Room]]]
    """Of each zone."""
    tenants: Maybe[dict[str, Maybe[int]]]
    """The tier of each application of the estate that runs in clusters, be it at this site or not."""


class CloudTenant(Resource):
    """An application at the cluster of a site."""

    site: Maybe[str]
    tenant: Maybe[str]
    zone: Maybe[str]
    tier: Maybe[int]
    sites: Texts
    """Where it runs."""


class Metadata(Facts):
    """What every object of a cluster has."""

    name: Maybe[str] = ""
    namespace: Maybe[str] = ""
    labels: Maybe[dict[str, Maybe[str]]] = {}


class Object(Resource):
    """An object of a cluster."""

    metadata: Maybe[Metadata]


class Namespace(Object):
    """Where an application has its place."""


class PolicySpec(Facts):
    """Which pods a policy is of, and what they may hear and say."""

    pod_selector: Maybe[dict[str, Any]]
    policy_types: Texts = ()
    ingress: Maybe[tuple[Any, ...]] = ()
    egress: Maybe[tuple[Any, ...]] = ()


class NetworkPolicy(Object):
    """What the pods of a namespace may hear and say."""

    spec: Maybe[PolicySpec]


class QuotaSpec(Facts):
    """How much of what all of a namespace may use."""

    hard: Maybe[dict[str, Any]]


class ResourceQuota(Object):
    """What a namespace may use in all."""

    spec: Maybe[QuotaSpec]


class LimitRange(Object):
    """What a container may use, and what it gets that says nothing."""


class Capabilities(Facts):
    """What of root's rights a container lacks."""

    drop: Texts = ()


class ContainerSecurity(Facts):
    """What a container may on its node."""

    privileged: Maybe[bool] = False
    allow_privilege_escalation: Maybe[bool] = True
    read_only_root_filesystem: Maybe[bool] = False
    capabilities: Maybe[Capabilities] = Capabilities()


class Container(Facts):
    """One of a pod."""

    image: Maybe[str]
    security_context: Maybe[ContainerSecurity] = ContainerSecurity()


class Seccomp(Facts):
    """Which calls of the kernel are filtered."""

    type: Maybe[str] = ""


class PodSecurity(Facts):
    """What all containers of a pod may on its node."""

    run_as_non_root: Maybe[bool] = False
    seccomp_profile: Maybe[Seccomp] = Seccomp()


class PodSpec(Facts):
    """What each pod of a workload is."""

    containers: Maybe[tuple[Maybe[Container], ...]]
    init_containers: Maybe[tuple[Maybe[Container], ...]] = ()
    security_context: Maybe[PodSecurity] = PodSecurity()
    automount_service_account_token: Maybe[bool] = True
    host_network: Maybe[bool] = False
    host_pid: Maybe[bool] = Field(False, alias="hostPID")
    host_ipc: Maybe[bool] = Field(False, alias="hostIPC")


class Template(Facts):
    """Of pods."""

    spec: Maybe[PodSpec]


class WorkloadSpec(Facts):
    """How many pods of which kind."""

    template: Maybe[Template]


class Workload(Object):
    """What keeps pods of an application running."""

    spec: Maybe[WorkloadSpec]
