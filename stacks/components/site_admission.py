"""Which pods of applications the API of a cluster takes (C-K8S-04, C-K8S-08): whoever asks, and by whatever way."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi_kubernetes.admissionregistration.v1 import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding

from stacks.model.cloud import TENANT, TIER, ZONE

NAME = "parts-of-applications"
PODS = ["pods", "pods/ephemeralcontainers"]
EVERY = "(object.spec.containers + object.spec.?initContainers.orValue([])).all(one, {})"
"""Of containers."""
OWN = "namespaceObject.metadata.labels"


def admission(site: str, registry: str, opts: pulumi.ResourceOptions) -> None:
    """What namespaces of applications take beside what the strictest profile of pods asks for."""
    policy = ValidatingAdmissionPolicy(
        f"{site}-{NAME}",
        metadata={"name": NAME},
        spec={
            "failure_policy": "Fail",
            "match_constraints": {"resource_rules": [_pods()]},
            "validations": [{"expression": wanted, "message": says} for wanted, says in _validations(registry)],
        },
        opts=opts,
    )
    ValidatingAdmissionPolicyBinding(
        f"{site}-{NAME}-everywhere",
        metadata={"name": NAME},
        spec={
            "policy_name": NAME,
            "validation_actions": ["Deny"],
            "match_resources": {
                "namespace_selector": {"match_expressions": [{"key": TENANT, "operator": "Exists"}]},
            },
        },
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[policy])),
    )


def _pods() -> dict[str, Any]:
    return {"api_groups": [""], "api_versions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": PODS}


def _validations(registry: str) -> list[tuple[str, str]]:
    """Expressions in CEL, and what is said where one does not hold."""
    image = registry.replace(".", r"\\.") + r"/[a-z0-9/-]+@sha256:[0-9a-f]{64}"
    return [
        (EVERY.format(f"one.image.matches('^{image}$')"), f"wanted every image by its digest, from {registry}"),
        (
            EVERY.format("one.?securityContext.?readOnlyRootFilesystem.orValue(false)"),
            "wanted readOnlyRootFilesystem: true of every container",
        ),
        (
            "!object.spec.?automountServiceAccountToken.orValue(true)",
            "wanted automountServiceAccountToken: false: no part of an application is known to the API",
        ),
        (
            f"object.spec.?priorityClassName.orValue('') == '{TIER}-' + {OWN}['{TIER}']",
            "wanted the priorityClassName of the application's tier",
        ),
        (
            f"object.spec.?tolerations.orValue([]).all(one, one.?key.orValue('').startsWith('node.kubernetes.io/')"
            f" || (one.?key.orValue('') == '{ZONE}' && one.?value.orValue('') == {OWN}['{ZONE}']))",
            "wanted tolerations of the application's own zone alone",
        ),
        ("object.spec.?ephemeralContainers.orValue([]).size() == 0", "wanted nothing put into a pod that runs"),
    ]
