"""What the CIS benchmark asks that no option, file or right answers: each question says what is not as it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from policies.known import known
from policies.live.cluster import Objects
from policies.live.facts import AuditRule, Host

READS: Final = ("get", "create")
"""Either is how one comes into a pod, by the client's age."""
CONCERNS: Final = (
    *(("get", name) for name in ("secrets", "configmaps")),
    *(("create", name) for name in ("secrets", "configmaps", "pods", "deployments", "tokenreviews")),
    *((verb, name) for verb in READS for name in ("pods/exec", "pods/portforward", "pods/proxy", "services/proxy")),
)
"""What must be written down, whoever does it."""
EVERYWHERE: Final = "default"
"""The namespace of whatever names none, and the account of pods that name none."""


def audited(host: Host) -> Iterator[str]:
    """What may be done without a trace, by somebody at least."""
    rules = known(host.audit, "audit")
    return (f"{verb} of {name} is not written down" for verb, name in CONCERNS if not _kept(rules, verb, name))


def _kept(rules: tuple[AuditRule, ...], verb: str, name: str) -> bool:
    for rule in rules:
        if not _about(rule, verb, name):
            continue
        if rule.level == "None":
            return False
        if not (rule.users or rule.user_groups):
            return True
    return False


def _about(rule: AuditRule, verb: str, name: str) -> bool:
    named = [each for one in rule.resources for each in one.get("resources", [])]
    fits = name in named or not (rule.resources or rule.non_resource_urls)
    return fits and (not rule.verbs or verb in rule.verbs)


def admins(objects: Objects) -> Iterator[str]:
    """Who may everything by a right that we gave."""
    return (f"{one.name} gives cluster-admin" for one in objects.grants if one.role == "cluster-admin")


def wild(objects: Objects) -> Iterator[str]:
    """Roles of ours that name everything."""
    return (f"the role {name} names everything" for name in objects.wild)


def own_accounts(objects: Objects) -> Iterator[str]:
    """Who uses the account that is everybody's."""
    yield from (f"{one.namespace}/{one.name} runs as {EVERYWHERE}" for one in objects.pods if one.account == EVERYWHERE)
    for one in objects.grants:
        yield from (f"{one.name} is of {who}" for who in one.subjects if who.endswith(f"/{EVERYWHERE}"))


def no_accounts(objects: Objects) -> Iterator[str]:
    """Accounts of pods that may do something at the API: whoever has a token of one may do the same."""
    for one in objects.grants:
        yield from (f"{one.name} is of {who}" for who in one.subjects if who.startswith("ServiceAccount "))


def fenced(objects: Objects) -> Iterator[str]:
    """Namespaces whose pods no policy is about."""
    return (f"no policy in {name}" for name in sorted({one.namespace for one in objects.pods} - objects.fenced))


def no_variables(objects: Objects) -> Iterator[str]:
    """Pods that have a secret as a variable."""
    return (f"{one.namespace}/{one.name} has one" for one in objects.pods if one.variables)


def kept_outside(objects: Objects) -> Iterator[str]:
    """Pods that have a secret of the cluster at all."""
    return (f"{one.namespace}/{one.name} has one" for one in objects.pods if one.mounts or one.variables)


def refused(objects: Objects) -> Iterator[str]:
    """Nothing refuses an image."""
    return iter(() if objects.denying else ("no policy of admission refuses anything",))


def apart(objects: Objects) -> Iterator[str]:
    """Pods outside of any application's namespace."""
    return (f"{one.namespace}/{one.name}" for one in objects.pods if one.namespace not in objects.tenants)


def nothing_default(objects: Objects) -> Iterator[str]:
    """What stands in the namespace that nobody chose, but the API's own address."""
    yield from (f"the pod {one.name}" for one in objects.pods if one.namespace == EVERYWHERE)
    yield from (f"the service {one}" for one in objects.services if one.startswith(f"{EVERYWHERE}/") and one != API)


API: Final = f"{EVERYWHERE}/kubernetes"

OF_MACHINES: Final[Mapping[str, Callable[[Host], Iterator[str]]]] = {"audited": audited}
OF_CLUSTERS: Final[Mapping[str, Callable[[Objects], Iterator[str]]]] = {
    "admins": admins,
    "wild": wild,
    "own-accounts": own_accounts,
    "no-accounts": no_accounts,
    "fenced": fenced,
    "no-variables": no_variables,
    "kept-outside": kept_outside,
    "refused": refused,
    "apart": apart,
    "nothing-default": nothing_default,
}
