"""Facts of a running machine. What it could not be asked is UNKNOWN, so that no rule takes it for fine."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from pydantic import Field

from policies.known import UNKNOWN, Facts, Maybe, Resource, Texts

TYPE: Final = "qhs:live:Host"

type Address = IPv4Address | IPv6Address


class Chain(Facts):
    """A chain of nftables that the kernel runs packets through."""

    family: str
    table: str
    name: str
    type: str
    hook: str
    policy: str


class Unit(Facts):
    """A unit of systemd."""

    active: bool
    enabled: bool


class TimeSource(Facts):
    """What chronyd follows: the address of a server, or the name of a reference clock."""

    name: str
    server: bool
    answers: bool
    """It answers, follows something itself, and chronyd has not found it wrong."""
    offset_ms: float
    """How far it is from the machine's clock; milliseconds."""


class Clock(Facts):
    """What chronyd says of the time."""

    sources: tuple[TimeSource, ...]
    synchronised: bool
    offset_ms: float
    """How far the machine's clock is from the time that it follows; milliseconds."""
    steers: bool


class LogTarget(Facts):
    """Where a machine's logs go."""

    address: str
    tls: bool
    queue_on_disk: bool


class Heard(Facts):
    """What a log store has of a sender."""

    silent_minutes: float
    months: int
    """For how long it keeps it."""


class LogStore(Facts):
    """What a log store says of itself and of others."""

    faults: tuple[str, ...]
    """What was altered, removed or put in since it was sealed."""
    heads: tuple[str, ...]
    """Of its chain, of the last days."""
    sealed_minutes: float | None = None
    """Since the last seal; None where there is none."""
    witnessed: dict[str, tuple[str, ...]]
    """The heads that other stores have told it of late, by their address."""
    senders: dict[str, Heard]
    """By address."""


class Tunnel(Facts):
    """A tunnel of a firewall, up to another site."""

    name: str
    cipher: str


class Hsm(Facts):
    """What the PKCS#11 module of an HSM says of itself."""

    manufacturer: str


class TimeStamp(Facts):
    """What a machine was given by the time-stamp service of its site."""

    taken: bool
    """OpenSSL takes it for one over what was asked, by a certificate that leads to the authority."""
    accuracy_s: float | None = None
    """As it states it; seconds."""
    off_s: float = 0
    """How far its time lies before the machine's clock when it was asked, or after when it was answered; seconds."""


class Following(Facts):
    """What a site's object store says of itself: it is the one with the lease, or follows that."""

    holder: str
    """The site that has the lease; empty: it does not know."""
    lag_s: float | None = None
    """How much of what was written there it may lack; seconds. None: it follows nobody."""


class Replication(Facts):
    """What the database of a machine says of itself: it takes writes, or is a copy."""

    writes: bool
    lag_s: float | None = None
    """How much of what whom it follows has written it may lack; seconds. None: it does not follow anybody."""
    confirms: dict[str, float | None]
    """By address the copies that have what it wrote before it counts as written, each with the shortest round trip that
    the kernel has seen to it, in milliseconds; None: the kernel knows no connection."""


class AuditRule(Facts):
    """One of what an API writes down; the first that fits what is asked decides. An empty field fits all."""

    level: str
    verbs: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    user_groups: tuple[str, ...] = ()
    resources: tuple[dict[str, Any], ...] = ()
    non_resource_urls: tuple[str, ...] = Field((), alias="nonResourceURLs")


class Host(Resource):
    """A machine: what the estate says of it, then what it says of itself."""

    type: str = TYPE
    site: str
    addresses: tuple[Address, ...]
    services: tuple[str, ...]
    """Those whose address it holds."""
    takes_files: bool
    """Files of others come in by one of them."""
    public: bool
    """One of them is meant to be reached from the Internet."""
    firewall: bool
    """It is a member of a firewall pair."""
    hsm_host: bool
    """An HSM is reached on it."""
    time_stamps_of: str
    """The name of the service that it is to get a time-stamp from; empty: of none."""
    controls: bool
    """It is a control plane of a cluster."""
    node: bool
    """It is a node of one."""
    tunnels_wanted: tuple[str, ...]
    """Those that it is to have whether or not it holds the addresses of its pair."""
    may_lack_s: dict[str, float]
    """By what it has that may be a copy of another site's (`databases`, `objects`): how old that may be; seconds."""
    needs: dict[str, tuple[str, ...]]
    """By variable of its roles that names addresses of the estate: the sites that they are of."""

    sshd: Maybe[dict[str, tuple[str, ...]]] = UNKNOWN
    """Each option with every value that it takes for somebody."""
    chains: Maybe[tuple[Chain, ...]] = UNKNOWN
    units: Maybe[dict[str, Unit]] = UNKNOWN
    superusers: Texts = UNKNOWN
    """Accounts whose number is 0."""
    root_locked: Maybe[bool] = UNKNOWN
    """No password opens it."""
    root_keys: Texts = UNKNOWN
    """Files with keys that open it."""
    silent_sudo: Texts = UNKNOWN
    """Files that tell sudo not to log."""
    confined: Maybe[bool] = UNKNOWN
    """AppArmor is on."""
    complaining: Maybe[tuple[str, ...]] = UNKNOWN
    """Profiles of AppArmor that only complain."""
    apt: Maybe[dict[str, str]] = UNKNOWN
    packages: Maybe[tuple[str, ...]] = UNKNOWN
    listening: Maybe[tuple[str, ...]] = UNKNOWN
    """Ports that are open to other machines, as `tcp/22`."""
    kernel: Maybe[dict[str, int]] = UNKNOWN
    clock: Maybe[Clock] = UNKNOWN
    log_targets: Maybe[tuple[LogTarget, ...]] = UNKNOWN
    log_store: Maybe[LogStore | None] = UNKNOWN
    """None: it is none."""
    hsm: Maybe[Hsm | None] = UNKNOWN
    """None: no module answers."""
    time_stamp: Maybe[TimeStamp | None] = UNKNOWN
    """None: it was not asked to get one."""
    tunnels: Maybe[tuple[Tunnel, ...]] = UNKNOWN
    """Those that are installed."""
    esp_in_kernel: Maybe[bool | None] = UNKNOWN
    """What encrypts in them is the kernel, not the daemon that makes them. None: no daemon answers."""
    replication: Maybe[Replication | None] = UNKNOWN
    """None: it has no database."""
    following: Maybe[Following | None] = UNKNOWN
    """None: it has nothing that follows other sites' objects."""
    backups: Maybe[dict[str, float]] = UNKNOWN
    """By site of an object store how many hours ago the newest copy there ended; empty: it tells of none."""
    cluster: Maybe[dict[str, dict[str, str]]] = UNKNOWN
    """Each program of a cluster that runs, with its options."""
    files: Maybe[dict[str, str]] = UNKNOWN
    """Of files of a cluster's parts mode and owner, as `0644 root:root`."""
    audit: Maybe[tuple[AuditRule, ...]] = UNKNOWN
    """What its API writes down; empty: it has none."""


def urn(environment: str, name: str) -> str:
    """How verdicts and waivers name a machine."""
    return f"urn:qhs:{environment}::{TYPE}::{name}"
