"""The types of the logical design: what stands in `stacks/catalogue/*.yaml`.

The catalogue knows no address and no machine: those come from an inventory (`inventory.py`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
# A zone, an external network or a carrier names an interface of the firewalls: the kernel takes 15 characters.
LegName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,11}$")]
DemandId = Annotated[str, StringConstraints(pattern=r"^(S-\d{3}|C-[A-Z0-9]+-\d{2})$")]
Level = Annotated[int, Field(ge=1, le=5)]
# A host outside; one that begins with a dot stands for all below it too.
Destination = Annotated[str, StringConstraints(pattern=r"^\.?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$")]
Port = Annotated[str, StringConstraints(pattern=r"^(tcp|udp)/\d{1,5}(-\d{1,5})?$|^icmp/echo$")]

Moment = Annotated[AwareDatetime, AfterValidator(lambda one: one.astimezone(UTC))]


class Strict(BaseModel):
    """Refuses unknown keys: a misspelt key must not silently mean nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Title(Strict):
    """What users read, in both languages."""

    vi: str
    en: str


class Declared(Strict):
    """What everything we build declares: who owns it and which demands or controls it serves."""

    title: Title
    owner: Name = Field(description="key of owners.yaml: a post or a unit, never a person")
    serves: list[DemandId] = Field(min_length=1)


class Owner(Strict):
    """A unit or post that answers for elements of the design."""

    title: Title


class ZoneKind(StrEnum):
    """The class of trust of a zone; rules of the baseline are written against these."""

    DMZ = "dmz"
    APP = "app"
    DATA = "data"
    STORAGE = "storage"
    SIGNING = "signing"
    MANAGEMENT = "management"
    SOC = "soc"
    BACKUP = "backup"
    USER = "user"
    WIRELESS = "wireless"
    SESSION = "session"
    TRIAL = "trial"
    LEGACY = "legacy"
    VENDOR = "vendor"
    INFRASTRUCTURE = "infrastructure"
    SECRET = "secret"  # noqa: S105 - a class of trust, not a secret


class Zone(Declared):
    """A class of trust; at each of its sites it becomes a segment with a prefix of its own."""

    index: int = Field(ge=1, le=62, description="place in every site's prefix; never reused")
    kind: ZoneKind
    level: Level
    sites: list[Name] = Field(min_length=1)
    firewall: Literal["gateway", "leg", "none"] = Field(
        "gateway",
        description="gateway: routed; leg: firewalls have a port in it, nothing is forwarded; none: an island",
    )


class External(Declared):
    """A network outside the estate that a firewall has a leg into: Internet, TSLCD, offices, other sites."""

    medium: Literal["internet", "tslcd", "branch", "dci"]


class Partner(Declared):
    """An organisation outside, reached over one external network; its prefix is index + that network's."""

    via: LegName = Field(description="key of externals.yaml")
    index: int = Field(ge=1, le=200)
    count: Literal["one", "delegation_offices"] = Field("one", description="a parameter of the estate, or one")
    state_body: bool = Field(description="Vietnamese state or Party body: then TSLCD, not the Internet (C-NET-14)")


class Carrier(Declared):
    """A telecommunications carrier that links of a site are bought from."""


class Service(Declared):
    """Something that listens: ports at one address of its zone, or at every machine that carries it."""

    places: list[Name] = Field(min_length=1, description="zones, external networks or partners")
    ports: list[Port] = Field(min_length=1)
    level: Level
    number: int | None = Field(None, ge=1, le=200, description="its address in the zone; none: see `on`")
    on: Literal["address", "machines", "pods", "everyone"] = Field(
        "address",
        description="address: one service address; machines: each carrier; pods: those of its nodes; "
        "everyone: the whole place",
    )
    role: Name | None = Field(None, description="the machine role that carries it")
    moves: bool = Field(False, description="its address is with the first machine of its group that can serve it")
    follows_lease: bool = Field(False, description="is also known by a name that leads to the site that has the lease")
    public: bool = Field(False, description="meant to be reached from the Internet (C-NET-07)")
    takes_files: bool = Field(False, description="files of others come in by it, and are scanned (C-NET-10)")
    leads_out: bool = Field(False, description="leads on to the destinations that a flow to it names (C-NET-15)")
    breaks: str | None = Field(
        None,
        description="why a chain of hops ends here: it terminates, authenticates and inspects (C-NET-03)",
    )

    @model_validator(mode="after")
    def _addressed(self) -> Self:
        if (self.on == "address") != (self.number is not None):
            raise ValueError("a number with on: address, and none otherwise")
        if self.on == "machines" and self.role is None:
            raise ValueError("a role with on: machines")
        if self.moves and self.on != "address":
            raise ValueError("on: address where it moves")
        return self


class Flow(Declared):
    """An allowed conversation. Whatever no flow names is denied (C-NET-02)."""

    source: list[Name] = Field(min_length=1, description="zones, external networks, partners")
    to: list[Name] = Field(min_length=1, description="services")
    scope: Literal["site", "cross", "any"] = Field("site", description="same site, between sites, or both")
    sites: list[Name] | None = Field(None, description="only from these sites")
    into: list[Name] | None = Field(None, description="only into these sites")
    expires: Moment | None = Field(None, description="with its time zone; from that second the flow is blocked")
    staged: bool = Field(False, description="logs what it would block before it is taken away")
    destinations: list[Destination] = Field([], description="where a service that leads out leads these sources")
    pods: bool = Field(False, description="what runs on the nodes of its sources says it too, not the nodes alone")
    firewalls: bool = Field(False, description="the pairs say it too, on their own leg in the segment of the service")
    review: date = Field(description="when the owner must confirm a flow that has no expiry")

    def expired(self, now: datetime) -> bool:
        """True from the second of its expiry on, as its rules have it: they match before that second alone."""
        return self.expires is not None and self.expires <= now


class People(Declared):
    """A group of persons who enter machines through a bastion."""

    hours: int = Field(ge=1, le=24, description="the longest that a person is let in for at a time")
    right: Literal["admin", "audit"] = Field(description="what they may there: everything, or read what is recorded")
    roles: list[Name] | None = Field(None, description="machines that they may enter; none: all but bastions")


class Tier(Strict):
    """Recovery objectives of a class of tenants, in minutes. Design choices: no law sets them."""

    title: Title
    rto_minutes: int = Field(ge=0)
    rpo_minutes: int = Field(ge=0)
    mtd_minutes: int = Field(ge=1)
    replica: bool = Field(description="must run at a second site")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.rto_minutes > self.mtd_minutes:
            raise ValueError("rto_minutes <= mtd_minutes (C-DR-04)")
        return self


class Retention(Strict):
    """How long what systems of a level leave behind is kept."""

    log_months: int = Field(ge=1)
    archive_years: int = Field(ge=1, le=100)


class Pillar(StrEnum):
    """The six pillars of the Digital National Assembly (S-145)."""

    INSTITUTIONS = "institutions"
    DATA = "data"
    PLATFORMS = "platforms"
    INFRASTRUCTURE = "infrastructure"
    SECURITY = "security"
    PEOPLE = "people"


class Window(Strict):
    """Days on which a tenant bursts or must not be changed; `why` says where they come from."""

    first: date
    last: date
    why: str

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.last < self.first:
            raise ValueError("last on or after first")
        return self


class Capacity(Strict):
    """What a tenant reserves at each of its sites."""

    cpu: float = Field(gt=0, description="cores")
    memory_gib: float = Field(gt=0)
    storage_gib: int = Field(ge=0)
    gpu: int = Field(0, ge=0)
    burst: float = Field(1.0, ge=1, description="factor on cpu and memory inside a burst window")

    @property
    def most_cpu(self) -> float:
        """Cores, in a burst: its quota."""
        return self.cpu * self.burst

    @property
    def most_memory_gib(self) -> float:
        """In a burst: its quota."""
        return self.memory_gib * self.burst


type Information = Literal["public", "private", "personal", "state-secret"]


class Tenant(Declared):
    """An application of the Assembly."""

    accountable: Name = Field(description="the post accountable for its security (S-071)")
    level: Level
    information: Information
    grade: Literal["mat", "toi-mat", "tuyet-mat"] | None = None
    tier: Literal[1, 2, 3, 4]
    pillar: Pillar
    phase: Literal[1, 2]
    zone: Name
    sites: list[Name] = Field(min_length=1)
    capacity: Capacity
    burst_windows: list[Window] = []
    freeze_windows: list[Window] = []
    databases: list[Name] = []
    buckets: list[Name] = []
    archives: list[Name] = Field([], description="those of its buckets where nothing can be changed or deleted (S-056)")
    signing: Literal["none", "user", "seal", "ballot"] = "none"
    partners: list[Name] = []
    uses: list[Name] = Field([], description="services that it asks besides those of what it has: see `cloud.uses`")
    public: bool = Field(False, description="anybody may come to it, over the edge")
    deputies: bool = Field(False, description="deputies come to it, from networks of their own")

    @model_validator(mode="after")
    def _graded(self) -> Self:
        if (self.information == "state-secret") != (self.grade is not None):
            raise ValueError("a grade with information: state-secret, and none otherwise (C-LVL-02)")
        return self

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.information == "state-secret" and (self.databases or self.buckets):
            raise ValueError("no databases and buckets with information: state-secret: all have a network (C-SEC-01)")
        return self

    @model_validator(mode="after")
    def _archives_something(self) -> Self:
        if unknown := sorted({*self.archives} - {*self.buckets}):
            raise ValueError(f"archives among its buckets; {', '.join(unknown)} is none of them")
        return self

    @model_validator(mode="after")
    def _bursts_sometime(self) -> Self:
        if (self.capacity.burst > 1) != bool(self.burst_windows):
            raise ValueError("burst_windows with a burst over 1, and none otherwise")
        return self


class Catalogue(Strict):
    """The whole logical design, one dictionary a file of `stacks/catalogue/`."""

    owners: dict[Name, Owner]
    zones: dict[LegName, Zone]
    externals: dict[LegName, External]
    carriers: dict[LegName, Carrier]
    partners: dict[Name, Partner]
    services: dict[Name, Service]
    flows: dict[Name, Flow]
    people: dict[Name, People]
    tiers: dict[int, Tier]
    retention: dict[Level, Retention]
    tenants: dict[Name, Tenant]
