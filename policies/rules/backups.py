"""C-BAK-01, C-BAK-02, C-BAK-03 and C-BAK-05 on plans: how many backups, where, and who can spoil or read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

from policies.baseline import Baseline
from policies.facts import BackupRoom, Backups, Bucket, PlanFacts, StorePolicy
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.backups import BACKUPS
from stacks.model.catalogue import Strict

STORES = "have an object store at another site"


class Limits(Strict):
    """How many copies there are with the data itself, how old each may be, and how long nobody can change one."""

    copies: int
    hours: int
    locked_days: int


class ThreeCopies(Rule[Backups]):
    """The data on its servers' disks is one copy, what each object store has another one, on another medium."""

    control = "C-BAK-01"
    name = "three-copies"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Backups]]:
        if isinstance(resource, Backups):
            yield "copies", resource

    def judge(self, resource: Resource, subject: Backups) -> Iterator[Fault]:
        copies = 1 + len(set(known(subject.stores, "stores")))
        if copies < self.limits.copies:
            yield Fault(f"{copies} with the data itself", f"{self.limits.copies} or more", STORES)


class Unchangeable(Rule[Bucket]):
    """No one who has the key of a bucket with backups can take them away before their time."""

    control = "C-BAK-01"
    name = "unchangeable"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Bucket]]:
        if isinstance(resource, Bucket) and isinstance(self.plan.by_urn.get(resource.parent or ""), BackupRoom):
            yield "lock", resource

    def judge(self, resource: Resource, subject: Bucket) -> Iterator[Fault]:
        days = known(subject.locked_days, "lockedDays") if known(subject.versioned, "versioned") else 0
        if days < self.limits.locked_days:
            wanted = f"{self.limits.locked_days} days or more, with every version"
            yield Fault(f"what is locked for {days} days", wanted, "stacks/components/site_backups.py declares it")


class ZoneApart(Rule[tuple[BackupRoom, str]]):
    """Backups are in another zone than their source, and on no machine of it."""

    control = "C-BAK-02"
    name = "zone-apart"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[BackupRoom, str]]]:
        if isinstance(resource, BackupRoom):
            for source in known(resource.sources, "sources"):
                yield f"databases of {source}", (resource, source)

    def judge(self, resource: Resource, subject: tuple[BackupRoom, str]) -> Iterator[Fault]:
        room, source = subject
        zone, machine = known(room.zone, "zone"), known(room.machine, "machine")
        fix = "move the object store"
        if zone in known(known(room.zones, "zones")[source], source):
            yield Fault(f"both in the zone {zone}", "zones apart", fix)
        if machine in known(known(room.sources, "sources")[source], source):
            yield Fault(f"both on {machine}", "machines apart", fix)


class OwnReader(Rule[tuple[StorePolicy, str]]):
    """What backups are encrypted by is read by whoever makes them, and never by who has them."""

    control = "C-BAK-03"
    name = "own-reader"

    @cached_property
    def sites(self) -> set[str]:
        """Those whose databases have backups. Raises Undecided."""
        return {site for room in self.plan.each(BackupRoom) for site in known(room.sources, "sources")}

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[StorePolicy, str]]]:
        if isinstance(resource, StorePolicy):
            for path in known(resource.rules, "rules"):
                if any(_reaches(path, _place(site)) for site in self.sites):
                    yield path, (resource, path)

    def judge(self, resource: Resource, subject: tuple[StorePolicy, str]) -> Iterator[Fault]:
        policy, path = subject
        room = self.plan.by_urn.get(policy.parent or "")
        site = known(room.site, "site") if isinstance(room, BackupRoom) else ""
        may = set(known(known(policy.rules, "rules")[path], path))
        if not site:
            yield Fault("a right of somebody else", "none but of machines with the data", "name its own paths alone")
        elif path != _place(site) or may != {"read"}:
            found = f"a right to {', '.join(sorted(may))} there"
            yield Fault(found, f"to read what those of {site} are encrypted by", "name its own path alone")


class OffSite(Rule[Backups]):
    """One copy is at another site than the data."""

    control = "C-BAK-05"
    name = "off-site"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Backups]]:
        if isinstance(resource, Backups):
            yield "elsewhere", resource

    def judge(self, resource: Resource, subject: Backups) -> Iterator[Fault]:
        site = known(subject.site, "site")
        if not set(known(subject.stores, "stores")) - {site}:
            yield Fault(f"copies at {site} alone", "one at another site", STORES)


def _place(site: str) -> str:
    return f"secret/data/{BACKUPS}/{site}"


def _reaches(path: str, place: str) -> bool:
    """Whether a path of a policy leads there: `+` is any one part of it, `*` at its end is all that follows."""
    pattern = re.escape(path).replace(r"\+", "[^/]+")
    return re.fullmatch(re.sub(r"\\\*$", ".*", pattern), place) is not None
