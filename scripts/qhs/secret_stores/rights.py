"""What whoever provisions may do at the secret stores: what the role has a new one grant, at those of before too."""

from __future__ import annotations

import json

import yaml

from qhs.folders import CLONE
from qhs.reaching import settings, within
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.signing import stores
from stacks.provider.secret.client import Store
from stacks.provider.secret.stores import store

ROLE = CLONE / "roles" / "openbao" / "vars" / "main.yml"
POLICY = "sys/policies/acl/provisioner"


def renew(estate: Estate, twin: Twin) -> list[str]:
    """At which sites it was something else. Raises UserError where a store does not answer."""
    own = settings(estate, twin)
    return within(twin, lambda: [site for site in stores(estate) if granted(store(own, site))])


def granted(found: Store) -> bool:
    """Whether it had to be granted: whoever provisions may write policies, and its own is one. Raises StoreError."""
    wanted = lines()
    if (found.read(POLICY) or {}).get("policy", "").strip().split("\n") == wanted:
        return False
    found.write(POLICY, policy="\n".join(wanted))
    return True


def lines() -> list[str]:
    """As the role has a new store begin with."""
    rules = yaml.safe_load(ROLE.read_text())["openbao_provisioner"]
    return [f'path "{one["path"]}" {{ capabilities = {json.dumps(one["may"])} }}' for one in rules]
