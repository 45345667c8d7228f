"""What a cluster that runs holds, as facts: for the same rules as a plan, and for those about who may do what in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies.cluster import LimitRange, Namespace, NetworkPolicy, ResourceQuota, Workload
from policies.known import UNKNOWN, Facts, Maybe, Resource

TYPE: Final = "qhs:live:Cluster"
KINDS: Final = (
    "namespaces",
    "networkpolicies",
    "resourcequotas",
    "limitranges",
    "pods",
    "services",
    "clusterroles",
    "clusterrolebindings",
    "roles",
    "rolebindings",
    "validatingadmissionpolicybindings",
)
"""What it is asked for, as kubectl calls it: no secret is among it."""
DEFAULTS: Final = "kubernetes.io/bootstrapping"
"""The label of what the API itself has made of roles and rights."""
SAME: Final[Mapping[str, type[Resource]]] = {
    "NetworkPolicy": NetworkPolicy,
    "ResourceQuota": ResourceQuota,
    "LimitRange": LimitRange,
}

type Json = dict[str, Any]


class May(Facts):
    """A line of a role."""

    verbs: tuple[str, ...]
    resources: tuple[str, ...] = ()


class Grant(Facts):
    """A right that somebody has beside those that the API itself has given."""

    name: str
    role: str
    subjects: tuple[str, ...]
    """As `User NAME`; of an account `ServiceAccount NAMESPACE/NAME`."""
    rules: tuple[May, ...]


class Pod(Facts):
    """What runs."""

    name: str
    namespace: str
    account: str
    variables: bool
    """A variable of it has a secret of the cluster."""
    mounts: bool
    """A file of it has one."""


class Objects(Facts):
    """What is there, beside what the rules for plans judge."""

    grants: tuple[Grant, ...]
    wild: tuple[str, ...]
    """Roles of ours that name everything."""
    pods: tuple[Pod, ...]
    services: tuple[str, ...]
    """As `NAMESPACE/NAME`."""
    tenants: frozenset[str]
    """Namespaces of applications."""
    fenced: frozenset[str]
    """Namespaces with a policy for their pods."""
    denying: tuple[str, ...]
    """Policies of admission that refuse what they do not like."""


class Cluster(Resource):
    """The cluster of a site."""

    type: str = TYPE
    objects: Maybe[Objects] = UNKNOWN


def urn(environment: str, site: str, name: str = "", kind: str = TYPE) -> str:
    """How verdicts and waivers name a cluster, and what is in it."""
    return f"urn:qhs:{environment}::{kind}::{site}-cluster{f'/{name}' if name else ''}"


def unasked(environment: str, site: str) -> Cluster:
    """One that has said nothing."""
    return Cluster(urn=urn(environment, site), name=f"{site}-cluster")


def held(environment: str, site: str, found: list[Json], tenants: set[str], label: str) -> list[Resource]:
    """The cluster, and what it holds. `tenants`: who is to have a place there; `label`: what theirs are known by.

    Raises LookupError or ValidationError where that is no answer of a cluster.
    """
    own = {_name(one) for one in _of(found, "Namespace") if label in one["metadata"].get("labels", {})}
    cluster = unasked(environment, site).model_copy(update={"objects": _objects(found, frozenset(own))})
    return [cluster, *_namespaces(environment, site, found, own | tenants), *_same(environment, site, found)]


def _namespaces(environment: str, site: str, found: list[Json], wanted: set[str]) -> Iterator[Resource]:
    """Of an application each, whether or not it is there: one that is not has nothing that a rule wants."""
    there = {_name(one): one["metadata"] for one in _of(found, "Namespace")}
    for name in sorted(wanted):
        metadata = there.get(name, {"name": name, "labels": {}})
        yield Namespace.model_validate(_at(environment, site, name, "Namespace") | {"metadata": metadata})


def _same(environment: str, site: str, found: list[Json]) -> Iterator[Resource]:
    """What plans declare, too; a pod is judged as what keeps pods of its kind running."""
    for one in found:
        name = f"{one['metadata'].get('namespace', '')}/{_name(one)}"
        at = _at(environment, site, name, one["kind"])
        if one["kind"] in SAME:
            yield SAME[one["kind"]].model_validate(at | {"metadata": one["metadata"], "spec": one.get("spec", {})})
        elif one["kind"] == "Pod":
            spec = {"template": {"spec": one["spec"]}}
            yield Workload.model_validate(at | {"metadata": one["metadata"], "spec": spec})


def _at(environment: str, site: str, name: str, kind: str) -> Json:
    return {"urn": urn(environment, site, name, kind), "type": kind, "name": f"{site}-cluster/{name}"}


def _objects(found: list[Json], tenants: frozenset[str]) -> Objects:
    roles = {_path(one): one for kind in ("ClusterRole", "Role") for one in _of(found, kind)}
    return Objects(
        grants=tuple(_grants(found, roles)),
        wild=tuple(name for name, one in roles.items() if _ours(one) and any(map(_wild, one.get("rules") or []))),
        pods=tuple(map(_pod, _of(found, "Pod"))),
        services=tuple(map(_path, _of(found, "Service"))),
        tenants=tenants,
        fenced=frozenset(one["metadata"]["namespace"] for one in _of(found, "NetworkPolicy")),
        denying=tuple(
            _name(one)
            for one in _of(found, "ValidatingAdmissionPolicyBinding")
            if "Deny" in one["spec"]["validationActions"]
        ),
    )


def _grants(found: list[Json], roles: Mapping[str, Json]) -> Iterator[Grant]:
    """A role that is bound before it is there gives nothing yet."""
    for one in (*_of(found, "ClusterRoleBinding"), *_of(found, "RoleBinding")):
        role, namespace = one["roleRef"], one["metadata"].get("namespace", "")
        there = roles.get(role["name"] if role["kind"] == "ClusterRole" else f"{namespace}/{role['name']}", {})
        if _ours(one):
            yield Grant(
                name=_path(one),
                role=role["name"],
                subjects=tuple(map(_subject, one.get("subjects") or [])),
                rules=tuple(May.model_validate(rule) for rule in there.get("rules") or []),
            )


def _pod(one: Json) -> Pod:
    spec = one["spec"]
    containers = (*spec["containers"], *spec.get("initContainers", []))
    variables = [
        each for container in containers for each in (*container.get("env", []), *container.get("envFrom", []))
    ]
    sources = [*spec.get("volumes", [])]
    sources += [each for volume in sources for each in volume.get("projected", {}).get("sources", [])]
    return Pod(
        name=_name(one),
        namespace=one["metadata"]["namespace"],
        account=spec.get("serviceAccountName", "default"),
        variables=any("secretRef" in each or "secretKeyRef" in each.get("valueFrom", {}) for each in variables),
        mounts=any("secret" in each for each in sources),
    )


def _of(found: list[Json], kind: str) -> Iterator[Json]:
    return (one for one in found if one["kind"] == kind)


def _name(one: Json) -> str:
    return str(one["metadata"]["name"])


def _path(one: Json) -> str:
    """A name that is one's own in the whole cluster."""
    namespace = one["metadata"].get("namespace")
    return f"{namespace}/{_name(one)}" if namespace else _name(one)


def _ours(one: Json) -> bool:
    return DEFAULTS not in one["metadata"].get("labels", {})


def _wild(rule: Json) -> bool:
    return any("*" in rule.get(key, []) for key in ("verbs", "resources", "apiGroups"))


def _subject(one: Json) -> str:
    name = f"{one['namespace']}/{one['name']}" if "namespace" in one else one["name"]
    return f"{one['kind']} {name}"
