"""C-K8S-09: the checks of the CIS benchmark (cis.yaml), one by one: passed, failed, or waived while that holds."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch

from policies.baseline.cis import PLACES, Check, Place, Rights
from policies.known import Resource, known
from policies.live.cluster import Cluster, Objects
from policies.live.facts import Host
from policies.rules.asked import OF_CLUSTERS, OF_MACHINES
from policies.rules.base import Rule
from policies.verdicts import Fault


class Benchmark[R: Resource](Rule[tuple[R, Check]]):
    """What all checks have in common. What another control's rule judges is not judged twice, but may be waived."""

    control = "C-K8S-09"

    def _of(self, place: Place, resource: R) -> Iterator[tuple[str, tuple[R, Check]]]:
        for number, check in self.baseline.cis.items():
            own = check.on or PLACES.get(number[0], "control")
            if own == place and (check.waived or not check.judged_by):
                yield number, (resource, check)

    def judge(self, resource: Resource, subject: tuple[R, Check]) -> Iterator[Fault]:
        asked, check = subject
        found = list(self.found(asked, check))
        if found:
            yield Fault(
                "; ".join(found), check.wants, "what the roles and the stack declare, or policies/baseline/cis.yaml"
            )
        elif check.waived:
            yield Fault("something else instead", check.wants, "", waiver=check.waived)

    def found(self, asked: R, check: Check) -> Iterator[str]:
        """What is not as the check wants it, or as its waiver says that it is."""
        raise NotImplementedError


class OfMachines(Benchmark[Host]):
    """What control planes and nodes were started with, and who may read it."""

    name = "benchmark-machines"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Host, Check]]]:
        if isinstance(resource, Host) and resource.controls:
            yield from self._of("control", resource)
        if isinstance(resource, Host) and resource.node:
            yield from self._of("node", resource)

    def found(self, asked: Host, check: Check) -> Iterator[str]:
        """See Benchmark."""
        known(asked.cluster, "cluster")  # nothing is waived of a machine that says nothing
        yield from (one for option in check.options for one in _option(asked, option, check.accepted))
        yield from (one for pattern in check.files for one in _files(asked, pattern, check))
        yield from (f"{one} is there" for pattern in check.absent for one in _like(asked, pattern))
        yield from OF_MACHINES[check.query](asked) if check.query else ()


class OfClusters(Benchmark[Cluster]):
    """What stands in a cluster, and who may do what there."""

    name = "benchmark-cluster"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Cluster, Check]]]:
        if isinstance(resource, Cluster):
            yield from self._of("cluster", resource)

    def found(self, asked: Cluster, check: Check) -> Iterator[str]:
        """See Benchmark."""
        objects = known(asked.objects, "objects")
        yield from _rights(objects, check.rights) if check.rights else ()
        yield from OF_CLUSTERS[check.query](objects) if check.query else ()


def _option(host: Host, option: str, accepted: list[str]) -> Iterator[str]:
    """That a program runs is another control's: here nothing is held against one that does not."""
    program, _, name = option.partition(" --")
    options = known(host.cluster, "cluster").get(program)
    if options is None:
        return
    value = options.get(name, "nothing")
    if value not in accepted if accepted else name not in options:
        yield f"{option} {value}"


def _files(host: Host, pattern: str, check: Check) -> Iterator[str]:
    there = _like(host, pattern)
    if not there:
        yield f"no {pattern}"
    for path in there:
        mode, owner = known(host.files, "files")[path].split()
        beside = int(mode, 8) & ~int(check.mode, 8) if check.mode else 0
        if beside or (check.owner and owner != check.owner):
            yield f"{path} {mode} {owner}"


def _like(host: Host, pattern: str) -> list[str]:
    return [path for path in known(host.files, "files") if fnmatch(path, pattern)]


def _rights(objects: Objects, rights: Rights) -> Iterator[str]:
    """Who may what nobody is to."""
    verbs, resources = {*rights.verbs, "*"}, {*rights.resources, "*"}
    for grant in objects.grants:
        if any(verbs & set(one.verbs) and resources & set(one.resources) for one in grant.rules):
            yield from (f"{who} by {grant.name}" for who in grant.subjects if who not in rights.but)
