"""What the cluster of a site has once: the classes of what matters most, and the rights of its own parts."""

from __future__ import annotations

from typing import Any, Final

import pulumi
from pulumi_kubernetes.core.v1 import Service
from pulumi_kubernetes.rbac.v1 import ClusterRole, ClusterRoleBinding
from pulumi_kubernetes.scheduling.v1 import PriorityClass

from stacks.components.declared import Declarations, Declared
from stacks.components.site_admission import admission
from stacks.components.site_metrics import metrics
from stacks.model import Estate
from stacks.model.addresses import Pair
from stacks.model.cloud import in_clusters, priority
from stacks.model.estate import CONTROL
from stacks.model.given import issuer
from stacks.model.images import registries
from stacks.model.kubernetes import API_SERVER, METRICS, SYSTEM, names
from stacks.model.room import rooms
from stacks.provider.secret.resources import TokenIssuer

FIRST = 1_000_000
"""The priority of tier 1; the parts of a cluster itself have more, and each tier a tenth of that before it."""
ROLES = "rbac.authorization.k8s.io"

LOOK_ON: Final = {
    "pod-policies": (
        "system:kube-router",
        [
            {"api_groups": [""], "resources": ["pods", "namespaces"], "verbs": ["list", "watch"]},
            {"api_groups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list", "watch"]},
            {"api_groups": [""], "resources": ["nodes"], "verbs": ["get"]},
        ],
    ),
    "cluster-names": (
        "system:coredns",
        [
            {"api_groups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
            {"api_groups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    ),
    "cluster-metrics": (
        f"system:{METRICS}",
        [
            {"api_groups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
            {"api_groups": [""], "resources": ["nodes", "pods"], "verbs": ["list", "watch"]},
            # Whether somebody else may know.
            {"api_groups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        ],
    ),
}
"""Parts of a cluster that look on and change nothing: as whom, and at what."""


class SiteCloud(Declared):
    """Tiers as classes of priority: where nodes are short, what may be out for longest goes first (C-DR-08)."""

    site: str
    registry: str
    """Which alone images come from."""
    root: pulumi.Output[str]
    """The certificate, in PEM, that vouches for everything of the estate."""

    def __init__(
        self, estate: Estate, site: str, clients: pulumi.Output[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """`clients`: the certificate, in PEM, by which the cluster knows its parts."""
        declared: Declarations = {"owner": "vpqh-cntt", "level": 4, "serves": ["S-001", "S-002", "C-DR-08", "C-K8S-07"]}
        super().__init__("qhs:cloud:Site", f"{site}-cloud", **declared, props=_props(estate, site), opts=opts)
        inside = pulumi.ResourceOptions(parent=self)
        self.site, self.registry = site, registries(estate)[site].name
        tokens = TokenIssuer(f"{site}-tokens", inside, site=site, issuer=issuer(estate, site), **declared)
        self.root = tokens.root
        for tier, design in estate.catalogue.tiers.items():
            PriorityClass(
                f"{site}-{priority(tier)}",
                metadata={"name": priority(tier)},
                value=FIRST // 10 ** (tier - 1),
                description=design.title.vi,
                opts=inside,
            )
        admission(site, self.registry, inside)
        # Logs, and what is run in a container, are asked for by the API of the node that has it.
        _bound(site, "api-to-nodes", "system:kubelet-api-admin", API_SERVER, inside)
        rights = []
        for name, (user, rules) in LOOK_ON.items():
            role = ClusterRole(f"{site}-{name}-role", metadata={"name": name}, rules=rules, opts=inside)
            after = pulumi.ResourceOptions(parent=self, depends_on=[role])
            rights.append(_bound(site, name, name, user, after))
        _names(site, names(estate, site), inside)
        metrics(site, clients, pulumi.ResourceOptions(parent=self, depends_on=rights))


def _bound(site: str, name: str, role: str, user: str, opts: pulumi.ResourceOptions) -> ClusterRoleBinding:
    """What a role says in the whole cluster is the right of a part of it."""
    return ClusterRoleBinding(
        f"{site}-{name}",
        metadata={"name": name},
        role_ref={"api_group": ROLES, "kind": "ClusterRole", "name": role},
        subjects=[{"api_group": ROLES, "kind": "User", "name": user}],
        opts=opts,
    )


def _names(site: str, address: Pair, opts: pulumi.ResourceOptions) -> None:
    """The address of names is nobody else's; each node answers there itself, so that no node's proxy leads it on."""
    Service(
        f"{site}-names",
        metadata={
            "name": "names",
            "namespace": SYSTEM,
            "labels": {"service.kubernetes.io/service-proxy-name": "none"},
            "annotations": {"pulumi.com/skipAwait": "true"},  # no pod will ever stand behind it
        },
        spec={
            "cluster_ip": address.texts()[0],
            "cluster_ips": address.texts(),
            "ip_family_policy": "RequireDualStack",
            "ports": [{"name": name, "protocol": name.upper(), "port": 53} for name in ("udp", "tcp")],
        },
        opts=opts,
    )


def _props(estate: Estate, site: str) -> dict[str, Any]:
    return {
        "environment": estate.inventory.environment,
        "site": site,
        "controls": {one.name: one.rack for one in estate.with_role(site, CONTROL)},
        "registry": registries(estate)[site].name,
        "nodes": {zone: vars(one) for zone, one in rooms(estate, site).items()},
        "tenants": {name: one.tier for name, one in in_clusters(estate).items()},
        "limits": {name: list(one.controls) for name, one in estate.inventory.limits.items()},
    }
