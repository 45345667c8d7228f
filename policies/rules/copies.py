"""C-BAK-03: what encrypts copies is not where they are."""

from __future__ import annotations

from collections.abc import Iterator

from policies.facts import ObjectStore, SecretStore, TransitKey
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault


class KeyElsewhere(Rule[ObjectStore]):
    """A site's states and copies are encrypted by a key that its secret store, on other machines, never gives out."""

    control = "C-BAK-03"
    name = "key-elsewhere"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, ObjectStore]]:
        if isinstance(resource, ObjectStore):
            yield "key", resource

    def judge(self, resource: Resource, subject: ObjectStore) -> Iterator[Fault]:
        site, machine = known(subject.site, "site"), known(subject.machine, "machine")
        keys = [one for one in self.plan.each(TransitKey) if known(one.site, "site") == site]
        if not keys:
            yield Fault("no key", f"one of the secret store of {site}", "declare a TransitKey there")
        if free := [one.name for one in keys if known(one.exportable, "exportable")]:
            yield Fault(f"{', '.join(free)}, which may leave its store", "a key that cannot", "replace it by a new one")
        stores = [one for one in self.plan.each(SecretStore) if known(one.site, "site") == site]
        if machine in {node for one in stores for node in known(one.nodes, "nodes")}:
            yield Fault(f"objects and the key on {machine}", "them on different machines", "move the object store")
