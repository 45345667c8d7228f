"""C-NET-16: one address belongs to one network, in the whole estate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from policies.baseline import Baseline
from policies.facts import PlanFacts, Prefixes, Segment, Site
from policies.known import Maybe, Resource, Undecided, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict

type Network = IPv4Network | IPv6Network
type Family = Literal["ipv4", "ipv6"]


class Limits(Strict):
    """Families in which every network has a prefix."""

    families: list[Family]


@dataclass(frozen=True)
class Claim:
    """A network of the estate and its prefix in one family; segments lie inside their site's."""

    kind: Literal["site", "external", "segment"]
    name: str
    family: Family
    prefix: Maybe[Network | None]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class NoOverlap(Rule[Claim]):
    """Prefixes of sites, external networks and segments never overlap; a segment lies in its site's prefix.

    A prefix of length 0 claims nothing: it stands for everything that is not ours.
    """

    control = "C-NET-16"
    name = "no-overlap"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Claim]]:
        for claim in self._claims(resource):
            if self.first.get(claim, resource.urn) == resource.urn:
                yield f"{claim} {claim.family}", claim

    def judge(self, resource: Resource, subject: Claim) -> Iterator[Fault]:
        prefix = known(subject.prefix, f"{subject} {subject.family}")
        if prefix is None:
            yield Fault(f"no {subject.family} prefix", "one in each family", "give it one from the address plan")
            return
        for other in self.overlapping.get(subject, ()):
            yield Fault(
                f"{prefix} overlaps {other.prefix} of {other}", "prefixes that are disjoint", "move one of them"
            )
        if subject.kind == "segment":
            yield from self._inside(subject, prefix)

    def _inside(self, claim: Claim, prefix: Network) -> Iterator[Fault]:
        site = claim.name.partition(".")[0]
        if site not in self.plan.sites:
            yield Fault(f"site {site}", f"one of {', '.join(sorted(self.plan.sites))}", "name a site of the estate")
            return
        whole = getattr(known(self.plan.sites[site], f"sites.{site}"), claim.family)
        whole = known(whole, f"sites.{site}.{claim.family}")
        if whole is not None and not prefix.subnet_of(whole):
            yield Fault(f"{prefix} outside {whole} of site {site}", "a prefix inside its site's", "take one from it")

    @cached_property
    def first(self) -> dict[Claim, str]:
        """Every claim, with the URN that makes it first: each site's plan repeats the whole estate's."""
        found: dict[Claim, str] = {}
        for resource in self.plan.resources:
            try:
                for claim in self._claims(resource):
                    found.setdefault(claim, resource.urn)
            except Undecided:
                continue  # it is UNDECIDED by itself
        return found

    @cached_property
    def overlapping(self) -> dict[Claim, list[Claim]]:
        """By claim, those before it in the address space that it overlaps, but for a segment's own site."""
        found: dict[Claim, list[Claim]] = {}
        for family in self.limits.families:
            open_claims: list[tuple[Claim, Network]] = []
            for claim, prefix in sorted(self._prefixes(family), key=_position):
                open_claims = [one for one in open_claims if one[1].broadcast_address >= prefix.network_address]  # type: ignore[operator]  # one family
                found[claim] = [one for one, _ in open_claims if not _holds(one, claim)]
                open_claims.append((claim, prefix))
        return found

    def _prefixes(self, family: Family) -> Iterator[tuple[Claim, Network]]:
        for claim in self.first:
            if (
                claim.family == family
                and isinstance(claim.prefix, IPv4Network | IPv6Network)
                and claim.prefix.prefixlen
            ):
                yield claim, claim.prefix

    def _claims(self, resource: Resource) -> Iterator[Claim]:
        match resource:
            case Site():
                yield from self._each("site", known(resource.sites, "sites"))
                yield from self._each("external", known(resource.externals, "externals"))
            case Segment():
                name = f"{known(resource.site, 'site')}.{known(resource.zone, 'zone')}"
                yield from self._each("segment", {name: resource})

    def _each(
        self, kind: Literal["site", "external", "segment"], networks: Mapping[str, Maybe[Prefixes]]
    ) -> Iterator[Claim]:
        for name, maybe in networks.items():
            prefixes = known(maybe, f"{kind} {name}")
            for family in self.limits.families:
                yield Claim(kind, name, family, getattr(prefixes, family))


def _position(claim: tuple[Claim, Network]) -> tuple[int, int, str]:
    """Wider prefixes before those inside them; names make the order of equals the same in every run."""
    return int(claim[1].network_address), claim[1].prefixlen, claim[0].name


def _holds(outer: Claim, inner: Claim) -> bool:
    return outer.kind == "site" and inner.kind == "segment" and inner.name.partition(".")[0] == outer.name
