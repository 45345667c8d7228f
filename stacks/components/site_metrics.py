"""What nodes and pods of a cluster use, as its API tells it: it hands on what a part beside it answers."""

from __future__ import annotations

import base64

import pulumi
from pulumi_kubernetes.apiregistration.v1 import APIService
from pulumi_kubernetes.core.v1 import Service
from pulumi_kubernetes.rbac.v1 import ClusterRole

from stacks.model.kubernetes import METRICS, METRICS_PORT, SYSTEM

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
READERS = ("view", "edit", "admin")
"""Roles of the API's own: whoever has one of them in a namespace sees what its pods use."""


def metrics(site: str, authority: pulumi.Output[str], opts: pulumi.ResourceOptions) -> None:
    """`authority`: the certificate, in PEM, by which the part that answers is known (C-K8S-01).

    Each API asks on its own machine. A part that answered from another one would be a door of a control plane more
    (C-K8S-06), and the loss of one machine would be felt at the others.
    """
    service = Service(
        f"{site}-metrics",
        metadata={"name": METRICS, "namespace": SYSTEM},
        spec={"type": "ExternalName", "external_name": "127.0.0.1"},
        opts=opts,
    )
    ClusterRole(
        f"{site}-metrics-readers",
        metadata={
            "name": "metrics-readers",
            "labels": {f"rbac.authorization.k8s.io/aggregate-to-{name}": "true" for name in READERS},
        },
        rules=[{"api_groups": [GROUP], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
        opts=opts,
    )
    # While nobody answers, the API cannot tell all that it has: first comes what that needs.
    APIService(
        f"{site}-metrics-api",
        metadata={"name": f"{VERSION}.{GROUP}"},
        spec={
            "group": GROUP,
            "version": VERSION,
            "group_priority_minimum": 100,
            "version_priority": 100,
            "service": {"name": METRICS, "namespace": SYSTEM, "port": METRICS_PORT},
            "ca_bundle": authority.apply(lambda pem: base64.b64encode(pem.encode()).decode()),
        },
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[service])),
    )
