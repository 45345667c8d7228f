"""The types of an inventory: what stands in `inventories/<environment>/estate.yaml`."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, Self

from pydantic import Field, model_validator

from stacks.model.catalogue import DemandId, LegName, Moment, Name, Strict, Title


class Prefixes(Strict):
    """One prefix of each family."""

    ipv4: IPv4Network
    ipv6: IPv6Network

    def refuse_lengths(self, ipv4: int, ipv6: int) -> None:
        """Raises ValueError unless the prefixes have these lengths: the plan counts segments inside them."""
        if (self.ipv4.prefixlen, self.ipv6.prefixlen) != (ipv4, ipv6):
            raise ValueError(f"an IPv4 /{ipv4} and an IPv6 /{ipv6}")


class ExternalNetwork(Prefixes):
    """The addresses of an external network; partners get their prefixes out of it by their index."""

    note: str | None = Field(None, description="where the addresses come from")
    resolvers: list[IPv4Address | IPv6Address] = Field([], description="name servers there that the egress zone asks")

    @model_validator(mode="after")
    def _roomy(self) -> Self:
        self.refuse_lengths(16, 48)
        return self


class Rack(Strict):
    """A rack: one failure domain of power and cooling."""

    room: str
    power_feeds: Literal[1, 2]


class Group(Strict):
    """Machines of one kind at a site: `<site>-<group><n>`, spread over the racks in turn."""

    roles: list[Name] = Field(min_length=1)
    zone: LegName | None = Field(None, description="none: a firewall, which has a leg in every zone")
    count: int = Field(ge=1, le=100)
    number: int = Field(ge=1, le=900, description="of the first machine; it fixes the addresses")
    racks: list[Name] = Field(description="in turn; empty is refused: a host stands in a rack")
    ownership: Literal["owned", "leased"] = "owned"
    cpu: int = Field(ge=1, description="cores")
    memory_gib: float = Field(gt=0)
    disk_gib: int = Field(ge=1)
    gpu: int = Field(0, ge=0)
    services: list[Name] = Field([], description="services whose address the first machine of the group holds")


class Client(Strict):
    """Twin only: a user's device or a partner's system, as a network namespace."""

    place: str = Field(description="`<site>.<zone>`, an external network, or `<external>.<partner>`")
    number: int = Field(ge=1, le=200)


class Degraded(Strict):
    """The switch that lets the ruleset of a firewall pair be written while one of its members does not answer."""

    until: Moment = Field(description="from then on it is off")
    reason: str = Field(min_length=1)

    def on(self, now: datetime) -> bool:
        """Whether it counts at `now`."""
        return now < self.until


class Site(Prefixes):
    """A place with machines. Its prefixes hold all of its segments."""

    index: int = Field(ge=1, le=15, description="fixes its addresses in external networks; never reused")
    title: Title
    ownership: Literal["owned", "leased"]
    country: Literal["VN"] = Field(description="data stays in Viet Nam (C-DATA-02)")
    facility: str = Field(description="data-centre class and where that is from")
    serves: list[DemandId] = Field([], description="demands or controls that this site as a whole serves")
    carriers: list[LegName] = Field(min_length=2, description="two, distinct (C-NET-06, C-DR-07)")
    externals: list[LegName] = Field(description="external networks its firewalls have a leg into")
    clock: str = Field(
        pattern=r"^(host|PHC /dev/\S+|SHM \d)$",
        description="what its time server follows: a reference clock in chrony's words, or `host`, the machine's own",
    )
    degraded: Degraded | None = Field(None, description="its pair is written although one member does not answer")
    racks: dict[Name, Rack]
    groups: dict[Name, Group]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self.refuse_lengths(14, 48)
        if len(set(self.carriers)) != len(self.carriers):
            raise ValueError("carriers that differ (C-NET-06)")
        return self


class Hsm(Strict):
    """How the devices of this environment are reached on their hosts."""

    module: str = Field(pattern="^/", description="the PKCS#11 module on the host of a device")
    environment: dict[str, str] = Field({}, description="what the module reads from its environment")
    soft_tokens: str = Field("", pattern="^(/|$)", description="where SoftHSM has its tokens, if it is the module")


class Signing(Strict):
    """Who certifies keys, and how many there are."""

    founds: Name = Field(description="the site that makes keys; others get them from its devices")
    authority: Name = Field(description="whose certificates count; its own lies beside those that it gave")
    quorum: int = Field(ge=2, description="how many approvers it takes for what cannot be undone (C-HSM-03)")
    signatories: int = Field(ge=0, le=9, description="persons who sign until an identity provider names them")


class Identity(Strict):
    """The shared identity provider, as clusters believe it (C-IAM-01)."""

    issuer: str = Field(pattern="^https://[^/?#]+(/[^?#]*)?$", description="as its tokens name it")
    audience: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="for whom a token must have been made")


class Limit(Strict):
    """What this environment cannot do; shown in every report, refused in `prod`."""

    what: str
    why: str
    instead: str
    controls: list[str] = Field([], description="controls that it touches")

    def __str__(self) -> str:
        touched = f" ({', '.join(self.controls)})" if self.controls else ""
        return f"{self.what}: {self.why}; instead: {self.instead}{touched}"


class Environment(Strict):
    """An inventory."""

    environment: Literal["twin", "prod"]
    domain: str = Field(pattern=r"^([a-z][a-z0-9-]*\.)+internal$", description="of all names of the estate")
    delegation_offices: int = Field(ge=1, le=99, description="N: no text gives the number; a parameter")
    externals: dict[LegName, ExternalNetwork]
    carriers: dict[LegName, ExternalNetwork] = Field(
        description="the network over which a carrier joins the sites; tunnels alone are in it"
    )
    hsm: Hsm
    signing: Signing
    identity: Identity | None = Field(None, description="none yet: only certificates of a cluster let in")
    sites: dict[Name, Site]
    clients: dict[Name, Client] = {}
    limits: dict[Name, Limit] = {}

    def limit_lines(self) -> list[str]:
        """What a report shows of the limits, one line each."""
        return [f"limit {name}: {limit}" for name, limit in self.limits.items()]

    @model_validator(mode="after")
    def _prod_is_whole(self) -> Self:
        if self.environment == "prod" and (self.limits or self.clients):
            raise ValueError("no limits and no clients in prod: they belong to the twin")
        if self.environment == "prod" and self.hsm.soft_tokens:
            raise ValueError(
                f"a device in prod, no SoftHSM: {self.hsm.soft_tokens} would hold the keys in files (C-SIG-02)"
            )
        if self.environment == "prod" and (own := [name for name, site in self.sites.items() if site.clock == "host"]):
            raise ValueError(f"a reference clock at every site of prod: {', '.join(own)} would follow a machine's own")
        return self
