"""The place of an application in the cluster of a site: its name, its room, whom it speaks to, who looks after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import LimitRange, Namespace, ResourceQuota, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.rbac.v1 import RoleBinding

from stacks.components.declared import Declarations, Declared
from stacks.components.site_cloud import ROLES, SiteCloud
from stacks.components.tenant_access import access
from stacks.components.tenant_canary import TenantCanary
from stacks.model.addresses import Pair
from stacks.model.cloud import PART, TENANT, TIER, ZONE, TenantPlace
from stacks.model.given import ACCOUNT, Given
from stacks.model.ingress import FRONT

EVERYTHING: dict[str, Any] = {}
"""As a selector of pods: all of the namespace."""
DNS = ("udp/53", "tcp/53")
UNSAID = {"cpu": "500m", "memory": "256Mi"}
"""What a container gets that says nothing of what it needs; a design choice."""
ASKED = {"cpu": "10m", "memory": "32Mi"}
"""What is kept free for it."""
PODS = 50
"""As many of one application at a site; a design choice: a node of `prod` has addresses for 61."""


class CloudTenant(Declared):
    """A namespace that nothing enters or leaves but what flows say, with as much room as the catalogue reserves.

    No part of it runs with rights on its node (C-K8S-04), and none says or hears what no flow names (C-K8S-05).
    """

    def __init__(self, place: TenantPlace, given: Given, around: SiteCloud, hooks: pulumi.ResourceHookBinding) -> None:
        """`hooks`: what refuses that it is changed."""
        site, opts = around.site, pulumi.ResourceOptions(parent=around)
        declared: Declarations = {"owner": place.owner, "level": place.level, "serves": list(place.serves)}
        props = {"site": site, "tenant": place.name, "zone": place.zone, "tier": place.tier, "sites": list(place.sites)}
        super().__init__("qhs:cloud:Tenant", f"{site}-{place.name}", **declared, props=props, opts=opts)
        self._site, self._place = site, place
        inside = pulumi.ResourceOptions(parent=self, hooks=hooks)
        namespace = Namespace(
            self._called("namespace"), metadata={"name": place.name, "labels": _labels(place)}, opts=inside
        )
        within = pulumi.ResourceOptions(parent=self, hooks=hooks, depends_on=[namespace])
        self._room(within)
        self._policies(within)
        if place.people:
            self._front(within)
        account = self._people(within)
        known = access(site, given, declared, inside)
        ready = pulumi.ResourceOptions(parent=self, hooks=hooks, depends_on=[namespace, account, known])
        TenantCanary(place, site, around.registry, given, around.root).declare(ready)

    def _called(self, what: str) -> str:
        return f"{self._site}-{self._place.name}-{what}"

    def _metadata(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self._place.name}

    def _room(self, within: pulumi.ResourceOptions) -> None:
        """What it may use in all and, of that, each container; nothing of it is a way in from outside the cluster."""
        most = _most(self._place)
        hard = {
            "requests.cpu": most["cpu"],
            "requests.memory": most["memory"],
            "limits.memory": most["memory"],
            "pods": str(PODS),
            "services.nodeports": "0",
            "services.loadbalancers": "0",
        }
        if self._place.capacity.gpu:
            hard["requests.nvidia.com/gpu"] = str(self._place.capacity.gpu)
        ResourceQuota(self._called("room"), metadata=self._metadata("room"), spec={"hard": hard}, opts=within)
        container = {"type": "Container", "default": UNSAID, "default_request": ASKED, "max": most}
        LimitRange(self._called("each"), metadata=self._metadata("each"), spec={"limits": [container]}, opts=within)

    def _policies(self, within: pulumi.ResourceOptions) -> None:
        """Nothing, and then what the model says. Both hold at once: where the second goes, nothing is left open."""
        both = {"pod_selector": EVERYTHING, "policy_types": ["Ingress", "Egress"]}
        NetworkPolicy(self._called("nothing"), metadata=self._metadata("nothing"), spec=both, opts=within)
        own = {"pod_selector": EVERYTHING}
        ports = _ports(self._place.ports)
        heard = [own, *_blocks([self._place.people] if self._place.people else [])]
        flows = {
            **both,
            "ingress": [{"from_": heard, "ports": ports}],
            "egress": [
                {"to": [own], "ports": ports},
                {"to": _blocks([self._place.names]), "ports": _ports(DNS)},
                *({"to": _blocks(one.addresses), "ports": _ports(one.ports)} for one in self._place.reaches),
            ],
        }
        NetworkPolicy(self._called("flows"), metadata=self._metadata("flows"), spec=flows, opts=within)

    def _front(self, within: pulumi.ResourceOptions) -> None:
        """A name for those of its parts that answer people and are ready, each by its own address."""
        Service(
            self._called(FRONT),
            metadata=self._metadata(FRONT) | {"annotations": {"pulumi.com/skipAwait": "true"}},  # there may be none yet
            spec={
                "cluster_ip": "None",
                "ip_family_policy": "SingleStack",
                "ip_families": ["IPv4"],
                "selector": PART,
                "ports": _ports(self._place.ports),
            },
            opts=within,
        )

    def _people(self, within: pulumi.ResourceOptions) -> ServiceAccount:
        """Its parts run as nobody whom the API knows; its owners see how it is, and none of its secrets."""
        account = ServiceAccount(
            self._called(ACCOUNT), metadata=self._metadata(ACCOUNT), automount_service_account_token=False, opts=within
        )
        RoleBinding(
            self._called("owners"),
            metadata=self._metadata("owners"),
            role_ref={"api_group": ROLES, "kind": "ClusterRole", "name": "view"},
            subjects=[{"api_group": ROLES, "kind": "Group", "name": self._place.owner}],
            opts=within,
        )
        return account


def _labels(place: TenantPlace) -> dict[str, str]:
    """What it is, for people and rules; and that the API takes only pods that need no right (C-K8S-04)."""
    return {
        TENANT: place.name,
        TIER: str(place.tier),
        ZONE: place.zone,
        "owner": place.owner,
        "level": str(place.level),
        "information": place.information,
        "pod-security.kubernetes.io/enforce": "restricted",
    }


def _most(place: TenantPlace) -> dict[str, str]:
    """What it may use when it bursts."""
    one = place.capacity
    return {"cpu": f"{one.most_cpu:g}", "memory": f"{one.most_memory_gib:g}Gi"}


def _blocks(addresses: Sequence[Pair]) -> list[dict[str, Any]]:
    return [{"ip_block": {"cidr": str(network)}} for pair in addresses for network in pair.both]


def _ports(texts: Sequence[str]) -> list[dict[str, Any]]:
    """`tcp/443` and `udp/5000-5100` as a policy has them."""
    found = []
    for text in texts:
        protocol, _, ports = text.partition("/")
        first, _, last = ports.partition("-")
        one: dict[str, Any] = {"protocol": protocol.upper(), "port": int(first)}
        found.append(one | ({"end_port": int(last)} if last else {}))
    return found
