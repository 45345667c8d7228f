"""How the parts of an application come into the secret store of their site, and to what there."""

from __future__ import annotations

import pulumi

from stacks.components.declared import Declarations
from stacks.components.site_secrets import LET_IN
from stacks.model.certificates import ENGINE
from stacks.model.given import HOURS, Given
from stacks.provider.secret.client import SECRETS
from stacks.provider.secret.resources import PkiRole, Policy, TokenRole


def access(site: str, given: Given, declared: Declarations, opts: pulumi.ResourceOptions) -> TokenRole:
    """By a token of the cluster that ends within the hour, to its own secrets and its own certificate (S-066)."""
    name = f"{site}-{given.signs}"
    certificates = PkiRole(
        f"{name}-certificates",
        opts,
        site=site,
        name=given.signs,
        names=[given.certificate],
        hours=HOURS,
        **declared,
    )
    rules = {f"{SECRETS}/data/{path}": ["read"] for path in given.secrets} | {
        f"{ENGINE}/sign/{given.signs}": ["update"]
    }
    policy = Policy(f"{name}-policy", opts, site=site, name=given.signs, rules=rules, **declared)
    return TokenRole(
        f"{name}-token",
        pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[policy, certificates])),
        site=site,
        name=given.role,
        account=given.account,
        audience=given.audience,
        policies=[given.signs],
        seconds=LET_IN,
        **declared,
    )
