"""What the last `qhs up` brought where, so that `qhs up --changed` leaves the rest alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from qhs import whole
from qhs.errors import UserError
from qhs.folders import CLONE
from qhs.inventory import groups, inventory
from stacks.layers import stack_names
from stacks.model import Estate, cloud, kubernetes
from stacks.model.backups import clusters
from stacks.model.data import active, databases, members
from stacks.model.given import given as given_to
from stacks.model.images import CANARY, pinned
from stacks.model.objects import object_stores
from stacks.model.rules import rulesets
from stacks.model.signing import signing_sites, stores, tokens
from stacks.name import SITELESS, StackName

ROLES = ("roles", "scripts/playbooks", "scripts/qhs/alerts.py", "ansible.cfg", "requirements.lock")
STACKS = ("stacks", "policies", "Pulumi.yaml")


@dataclass(frozen=True)
class Applied:
    """Digests of all that Ansible is given of each machine, and of all that Pulumi is given of each stack."""

    machines: dict[str, str] = field(default_factory=dict)
    stacks: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, estate: Estate, beside: Mapping[str, list[str]]) -> Applied:
        """What a run would bring there now; `beside` has by group what playbooks are given that no file here says."""
        roles, stacks = _tree(ROLES), _tree(STACKS)
        within = {
            name: sorted(one for one, names in groups(estate).items() if name in names) for name in estate.machines
        }
        return cls(
            {
                name: _digest(roles, variables, within[name], [beside[one] for one in within[name] if one in beside])
                for name, variables in inventory(estate)["_meta"]["hostvars"].items()
            },
            {str(name): _digest(stacks, given(estate, name)) for name in stack_names(estate)},
        )

    @classmethod
    def read(cls, path: Path) -> Applied:
        """What the last run brought; nothing, where there was none, or one of another version of this project."""
        found = json.loads(path.read_text()) if path.exists() else {}
        return cls(**found) if found.keys() == cls.__dataclass_fields__.keys() else cls()

    def write(self, path: Path) -> None:
        """Keep it, whole or not at all."""
        whole.write(path, json.dumps(asdict(self)))

    def within(self, other: Applied) -> Applied:
        """What `other` says too."""
        return Applied(
            {name: digest for name, digest in self.machines.items() if other.machines.get(name) == digest},
            {name: digest for name, digest in self.stacks.items() if other.stacks.get(name) == digest},
        )


def given(estate: Estate, stack: StackName) -> str:
    """All of the estate that a stack declares."""
    if stack.layer == "network" and stack.site:
        return repr(rulesets(estate, stack.site))
    if stack.layer == SITELESS:
        return repr([active(estate), members(estate), clusters(estate), *databases(estate)])
    if stack.layer == "cloud" and stack.site:
        places = [(one, given_to(estate, stack.site, one)) for one in cloud.places(estate, stack.site)]
        return repr([estate.catalogue.tiers, pinned(CANARY), *places])
    parts = [(one.name, kubernetes.parts(estate, one)) for one in kubernetes.members(estate, stack.site or "")]
    signing = [*signing_sites(estate), *tokens(estate)]
    return repr([estate.inventory.signing, stores(estate), object_stores(estate), clusters(estate), parts, *signing])


def _tree(paths: Iterable[str]) -> str:
    listed = [CLONE / path for path in paths]
    if missing := [path for path in listed if not path.exists()]:
        raise UserError(f"{missing[0]} is gone from this clone", "`git restore` brings it back")
    files = (file for path in listed for file in [path, *sorted(path.rglob("*"))] if file.is_file())
    return _digest(
        *(
            (str(file.relative_to(CLONE)), hashlib.sha256(file.read_bytes()).hexdigest())
            for file in files
            if not {"__pycache__", "config"} & set(file.relative_to(CLONE).parts)
        )
    )


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
