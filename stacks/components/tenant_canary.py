"""A small part of an application: it proves that what the application is given is there (images/containers/canary)."""

from __future__ import annotations

import json
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from stacks.model.cloud import PART, ZONE, TenantPlace, priority
from stacks.model.given import ACCOUNT, Given
from stacks.model.images import CANARY, NOBODY, pinned
from stacks.model.ledger import TENANT as DRILLS

MINUTES: Final = 60
"""For which a token is good; the node's agent renews it in time."""
GONE: Final = {1: 5}
"""Seconds, by tier, for which a node may be away before its pods stand on another; 60 where none is said."""
BOUNDS: Final = {"requests": {"cpu": "5m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}}


class TenantCanary:
    """It asks its own site for what the model says that the application has there."""

    def __init__(self, place: TenantPlace, site: str, registry: str, given: Given, root: pulumi.Input[str]) -> None:
        self._place, self._site, self._registry, self._given, self._root = place, site, registry, given, root
        self._port = int(place.ports[0].removeprefix("tcp/"))

    def declare(self, within: pulumi.ResourceOptions) -> None:
        """In the application's namespace."""
        name, metadata = f"{self._site}-{self._place.name}", {"namespace": self._place.name}
        known = ConfigMap(
            f"{name}-estate", metadata={"name": "estate", **metadata}, data={"root.crt": self._root}, opts=within
        )
        after = pulumi.ResourceOptions.merge(within, pulumi.ResourceOptions(depends_on=[known]))
        spec = {
            "replicas": self._place.copies,
            "selector": {"match_labels": PART},
            "template": {"metadata": {"labels": PART}, "spec": self._pod()},
        }
        Deployment(f"{name}-{CANARY}", metadata={"name": CANARY, **metadata}, spec=spec, opts=after)
        if self._place.copies > 1:
            budget = {"max_unavailable": 1, "selector": {"match_labels": PART}}
            PodDisruptionBudget(f"{name}-budget", metadata={"name": CANARY, **metadata}, spec=budget, opts=within)

    def _pod(self) -> dict[str, Any]:
        """It may write nowhere but into its own memory, and is known to the secret store alone."""
        token = {"audience": self._given.audience, "expiration_seconds": MINUTES * 60, "path": "token"}
        return {
            "service_account_name": ACCOUNT,
            "automount_service_account_token": False,
            "priority_class_name": priority(self._place.tier),
            "termination_grace_period_seconds": 5,
            "tolerations": self._tolerations(),
            "topology_spread_constraints": [
                {
                    "max_skew": 1,
                    "topology_key": "kubernetes.io/hostname",
                    "when_unsatisfiable": "ScheduleAnyway",
                    "label_selector": {"match_labels": PART},
                }
            ],
            "security_context": {
                "run_as_non_root": True,
                "run_as_user": NOBODY,
                "run_as_group": NOBODY,
                "fs_group": NOBODY,
                "seccomp_profile": {"type": "RuntimeDefault"},
            },
            "containers": [self._container()],
            "volumes": [
                {"name": "estate", "config_map": {"name": "estate"}},
                {"name": "own", "empty_dir": {"medium": "Memory", "size_limit": "1Mi"}},
                {"name": "token", "projected": {"sources": [{"service_account_token": token}]}},
            ],
        }

    def _tolerations(self) -> list[dict[str, Any]]:
        away = GONE.get(self._place.tier, 60)
        gone = {"operator": "Exists", "effect": "NoExecute", "toleration_seconds": away}
        return [
            {"key": ZONE, "value": self._place.zone, "effect": "NoSchedule"},
            *({"key": f"node.kubernetes.io/{what}", **gone} for what in ("not-ready", "unreachable")),
        ]

    def _container(self) -> dict[str, Any]:
        answers = {"http_get": {"port": self._port, "scheme": "HTTPS"}, "timeout_seconds": 5}
        return {
            "name": CANARY,
            "image": f"{self._registry}/{CANARY}@{pinned(CANARY)}",
            "args": ["serve"],
            "env": [{"name": "CANARY", "value": self._settings()}],
            "resources": BOUNDS,
            "security_context": {
                "allow_privilege_escalation": False,
                "read_only_root_filesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "startup_probe": {**answers, "period_seconds": 2, "failure_threshold": 150},
            "readiness_probe": {**answers, "period_seconds": 30, "failure_threshold": 2},
            "volume_mounts": [
                {"name": "estate", "mount_path": "/etc/estate", "read_only": True},
                {"name": "own", "mount_path": "/run/canary"},
                {"name": "token", "mount_path": "/run/secret-store", "read_only": True},
            ],
        }

    def _settings(self) -> str:
        """Where things are; not what it is to find there."""
        own = self._given
        buckets = [name for name in own.buckets if name not in own.archives]
        told = {
            "tenant": self._place.name,
            "site": self._site,
            "build": pinned(CANARY),
            "port": self._port,
            "stores": own.stores,
            "certificate": {"name": own.certificate, "role": own.signs},
            "databases": {"host": own.databases_at, "names": own.databases},
            "signer": own.signer,
            "objects": {"host": own.objects_at, "buckets": buckets, "archives": own.archives},
            "drills": self._place.name == DRILLS,
        }
        return json.dumps(told)
