"""Typed facts about a plan or a live estate: what rules judge. Nothing here knows Pulumi or a connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

from pydantic import ValidationError, model_validator

from policies.cluster import CloudSite, CloudTenant, LimitRange, Namespace, NetworkPolicy, ResourceQuota, Workload
from policies.known import Bounded, Facts, Maybe, Resource, Texts, Undecided, known
from stacks.model.rules import Rule

OURS = "qhs:"
ENGINE = "pulumi:"


class PacketRule(Facts):
    """One rule of a chain; an empty field matches everything. A plan shows it as its line."""

    chain: Maybe[str] = ""
    verdict: Maybe[str] = "accept"
    iif: Maybe[str] = ""
    oif: Maybe[str] = ""
    family: Maybe[str] = ""
    sources: Texts = ()
    destinations: Texts = ()
    protocol: Maybe[str] = ""
    ports: Texts = ()
    icmp_types: Texts = ()
    states: Texts = ()

    @model_validator(mode="before")
    @classmethod
    def _from_line(cls, given: Any) -> Any:
        return dict(vars(Rule.parse(given))) if isinstance(given, str) else given


class Guard(Facts):
    """A rule that holds whatever the flows are."""

    name: Maybe[str] = ""
    rule: Maybe[PacketRule] = PacketRule()


class Flow(Facts):
    """An allowed conversation as one ruleset enforces it; sources and destinations are names of places."""

    owner: Maybe[str] = ""
    serves: Texts = ()
    review: Maybe[date | None] = None
    expires: Maybe[datetime | None] = None
    breaks: Maybe[bool] = False
    sources: Texts = ()
    destinations: Texts = ()
    rules: Maybe[tuple[Maybe[PacketRule], ...]]


class Prefixes(Facts):
    """One prefix of each family; None: none was given."""

    ipv4: Maybe[IPv4Network | None] = None
    ipv6: Maybe[IPv6Network | None] = None


class External(Prefixes):
    """A network outside the estate."""

    medium: Maybe[str]


class Objectives(Facts):
    """What an application is promised, in minutes; None: nobody has said it."""

    rto: Maybe[int | None] = None
    rpo: Maybe[int | None] = None
    mtd: Maybe[int | None] = None


class ZoneAt(Facts):
    """How a zone is kept at a centre."""

    kind: Maybe[str]
    firewall: Maybe[str]
    level: Maybe[int]


class Centre(Facts):
    """A site that may ever take writes, as the estate has it."""

    facility: Maybe[str]
    roles: Texts
    """Of its machines."""
    zones: Maybe[dict[str, Maybe[ZoneAt]]]


class Site(Bounded):
    """A site's network, which also knows every site and external network of the estate."""

    site: Maybe[str]
    centres: Maybe[dict[str, Maybe[Centre]]]
    tenants: Maybe[dict[str, Maybe[Objectives]]]
    """Every application of the estate."""
    sites: Maybe[dict[str, Maybe[Prefixes]]]
    externals: Maybe[dict[str, Maybe[External]]]
    zones: Maybe[dict[str, Maybe[str]]]
    """The kind of each zone of the estate: this site's flows also lead to zones that it has no segment of."""
    carriers: Texts
    partners: Maybe[dict[str, Maybe[bool]]]
    """The place of each partner of the estate: whether it is a Vietnamese body of the State or the Party."""


class Segment(Resource, Prefixes):
    """A zone at a site."""

    site: Maybe[str]
    zone: Maybe[str]
    kind: Maybe[str]
    firewall: Maybe[str]
    """What the site's firewalls are to it: `gateway`, or `leg` where they have a port and route nothing."""


class Enforcement(Resource):
    """The component around a ruleset."""

    target: Maybe[str]


class Ruleset(Resource):
    """What one firewall pair or one machine enforces."""

    target: Maybe[str]
    site: Maybe[str]
    kind: Maybe[str]
    """`pair` or `machine`."""
    members: Texts
    guards: Maybe[tuple[Maybe[Guard], ...]]
    flows: Maybe[dict[str, Maybe[Flow]]]


class SigningSite(Bounded):
    """The devices of a site."""

    site: Maybe[str]
    devices: Texts
    quorum: Maybe[int]
    """How many approvers it takes for what cannot be undone."""
    authority: Maybe[str]
    """Whose certificates its keys must have."""


class Partition(Resource):
    """A token of every device of a site."""

    site: Maybe[str]
    token: Maybe[str]
    devices: Texts


class SigningKey(Partition):
    """A key on every device of a site, as it stands there."""

    label: Maybe[str]
    algorithm: Maybe[str]
    use: Maybe[str]
    sensitive: Maybe[bool | str] = False
    extractable: Maybe[bool | str] = True
    private: Maybe[bool | str] = False
    uses: Texts = ()


class SigningCertificate(Partition):
    """The certificate of a key."""

    label: Maybe[str]
    authority: Maybe[str]
    anchor: Maybe[str]
    chain: Maybe[str]


class StorePolicy(Resource):
    """What somebody may do in a secret store, by path."""

    rules: Maybe[dict[str, Texts]]


class SecretStore(Resource):
    """The secret store of a site."""

    site: Maybe[str]
    nodes: Texts


class TransitKey(Resource):
    """A key of a secret store that encrypts for others."""

    site: Maybe[str]
    exportable: Maybe[bool] = True


class ObjectStore(Resource):
    """The object store of a site, which has states and copies of states."""

    site: Maybe[str]
    machine: Maybe[str]


class Bucket(Resource):
    """A bucket of an object store."""

    versioned: Maybe[bool]
    locked_days: Maybe[int] = 0


class BackupRoom(Resource):
    """What an object store has for backups, by the site of the databases that these are of."""

    site: Maybe[str]
    machine: Maybe[str]
    zone: Maybe[str]
    sources: Maybe[dict[str, Texts]]
    """The machines with the data."""
    zones: Maybe[dict[str, Texts]]
    """Where these are."""


class Replica(Resource):
    """What exists once for the estate, at the site that takes writes first."""

    site: Maybe[str]
    copies: Maybe[dict[str, Texts]]
    """The other sites that have a copy, by what it is of."""
    databases: Maybe[dict[str, Texts]]
    """By site the machines that have them: what one of them writes, another one of the same site confirms."""


class TenantData(Resource):
    """What an application has in the databases."""

    tenant: Maybe[str]
    rpo: Maybe[int]
    """How much of what it wrote may be lost, in minutes."""


class Backups(Resource):
    """The backups of a site's databases, wherever they are."""

    site: Maybe[str]
    stores: Texts
    """The sites with a copy in their object store."""


class SiteNames(Resource):
    """The names below the domain of the site that it is part of."""


class Record(Resource):
    """A name below the domain of a site, and where it leads. It is what its resource is called by."""

    addresses: Texts


class Database(Resource):
    """A database of a tenant."""

    information: Maybe[str]
    logged: Maybe[bool] = False


TYPES: Final[Mapping[str, type[Resource]]] = {
    "qhs:network:Site": Site,
    "qhs:network:Segment": Segment,
    "qhs:network:Enforcement": Enforcement,
    "qhs:network:Ruleset": Ruleset,
    "qhs:dns:ServiceNames": SiteNames,
    "qhs:dns:Record": Record,
    "qhs:signing:Site": SigningSite,
    "qhs:signing:Partition": Resource,
    "qhs:signing:Token": Partition,
    "qhs:signing:Key": SigningKey,
    "qhs:signing:Request": Resource,
    "qhs:signing:Certificate": SigningCertificate,
    "qhs:secrets:Site": SecretStore,
    "qhs:secrets:Mount": Resource,
    "qhs:secrets:Policy": StorePolicy,
    "qhs:secrets:Auth": Resource,
    "qhs:secrets:TransitKey": TransitKey,
    "qhs:secrets:Shared": Resource,
    "qhs:secrets:Authority": Resource,
    "qhs:secrets:PkiAuthority": Resource,
    "qhs:secrets:PkiRole": Resource,
    "qhs:secrets:Clients": Resource,
    "qhs:secrets:ClientAuthority": Resource,
    "qhs:secrets:ClientRole": Resource,
    "qhs:secrets:TokenIssuer": Resource,
    "qhs:secrets:TokenRole": Resource,
    "qhs:data:Replica": Replica,
    "qhs:data:Backups": Backups,
    "qhs:data:Tenant": TenantData,
    "qhs:data:Role": Resource,
    "qhs:data:Database": Database,
    "qhs:storage:Site": ObjectStore,
    "qhs:storage:Identity": Resource,
    "qhs:storage:Bucket": Bucket,
    "qhs:storage:Backups": BackupRoom,
    "qhs:cloud:Site": CloudSite,
    "qhs:cloud:Tenant": CloudTenant,
    "kubernetes:core/v1:Namespace": Namespace,
    "kubernetes:core/v1:ResourceQuota": ResourceQuota,
    "kubernetes:core/v1:LimitRange": LimitRange,
    "kubernetes:networking.k8s.io/v1:NetworkPolicy": NetworkPolicy,
    "kubernetes:apps/v1:Deployment": Workload,
    "kubernetes:apps/v1:StatefulSet": Workload,
    "kubernetes:apps/v1:DaemonSet": Workload,
}


@dataclass(frozen=True)
class Raw:
    """A resource as its source shows it; unknown values are `UNKNOWN`."""

    urn: str
    type: str
    name: str
    parent: str | None
    props: dict[str, Any]


@dataclass(frozen=True)
class Malformed:
    """A resource that cannot become facts. Whoever judges a plan must fail on it."""

    urn: str
    field: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.urn}: {self.field}: found {self.found}; wanted {self.wanted}"


@dataclass(frozen=True)
class PlanFacts:
    """Every resource of a plan, in the order of their URNs."""

    resources: tuple[Resource, ...]
    malformed: tuple[Malformed, ...] = ()

    @classmethod
    def of(cls, raws: Iterable[Raw]) -> PlanFacts:
        """Facts of raw resources; what does not fit its type is in `malformed`, with every reason."""
        resources: list[Resource] = []
        malformed: list[Malformed] = []
        for raw in sorted(raws, key=lambda one: one.urn):
            if raw.type.startswith(OURS) and raw.type not in TYPES:
                malformed.append(Malformed(raw.urn, "type", repr(raw.type), f"one of {', '.join(TYPES)}"))
                continue
            try:
                resources.append(_resource(raw))
            except ValidationError as error:
                malformed += [_malformed(raw.urn, dict(item)) for item in error.errors()]
        return cls(tuple(resources), tuple(dict.fromkeys(malformed)))

    def each[R: Resource](self, kind: type[R]) -> tuple[R, ...]:
        """The resources of one kind."""
        return tuple(one for one in self.resources if isinstance(one, kind))

    @cached_property
    def by_urn(self) -> dict[str, Resource]:
        """Every resource by its URN."""
        return {one.urn: one for one in self.resources}

    @cached_property
    def sites(self) -> dict[str, Maybe[Prefixes]]:
        """Every site of the estate, by its name. Raises Undecided."""
        return {name: one for site in self.each(Site) for name, one in known(site.sites, "sites").items()}

    @cached_property
    def limits(self) -> dict[str, tuple[str, ...]]:
        """What the environment cannot do, with the controls that this touches; nothing of it counts in `prod`."""
        return {
            name: known(controls, name)
            for site in self.each(Bounded)
            if known(site.environment, "environment") != "prod"
            for name, controls in known(site.limits, "limits").items()
        }

    @cached_property
    def media(self) -> dict[str, Maybe[str]]:
        """The medium of every external network, by its name. Raises Undecided."""
        found: dict[str, Maybe[str]] = {}
        for site in self.each(Site):
            for name, external in known(site.externals, "externals").items():
                found[name] = known(external, f"externals.{name}").medium
        return found

    @cached_property
    def kinds(self) -> dict[str, Maybe[str]]:
        """The kind of each zone, by its name: it has one at all of its sites. Raises Undecided."""
        told = {zone: kind for site in self.each(Site) for zone, kind in known(site.zones, "zones").items()}
        return told | {known(one.zone, f"zone of {one.name}"): one.kind for one in self.each(Segment)}

    def kind(self, place: str) -> str | None:
        """The kind of the zone of a place; None: it lies outside. Raises Undecided for a zone that nobody names."""
        if self.medium(place) is not None:
            return None
        zone = place.partition(".")[2]
        if zone not in self.kinds:
            raise Undecided(f"the kind of {place}")
        return known(self.kinds[zone], f"kind of {zone}")

    def medium(self, place: str) -> str | None:
        """Medium of the external network in which a place lies; None: in none that is known."""
        name = place.partition(".")[0]
        return known(self.media[name], f"externals.{name}.medium") if name in self.media else None


def _resource(raw: Raw) -> Resource:
    at = {"urn": raw.urn, "type": raw.type, "name": raw.name, "parent": raw.parent}
    if raw.type not in TYPES:
        return Resource.model_validate(at)
    return TYPES[raw.type].model_validate(raw.props | at)


def _malformed(urn: str, item: dict[str, Any]) -> Malformed:
    # `known` is the branch of a Maybe that pydantic took: no part of the plan.
    path = ".".join(str(part) for part in item["loc"] if part != "known")
    if item["type"] == "missing":
        return Malformed(urn, path, "nothing", "a value")
    wanted = item["msg"].removeprefix("Input should be ").removeprefix("Input is not ")
    return Malformed(urn, path, repr(item["input"])[:80], wanted)
