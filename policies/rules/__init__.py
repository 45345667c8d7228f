"""The registry of rules. One property each; what they need to know of the law stands in the baseline."""

from __future__ import annotations

from typing import Any, Final

from policies.rules.agents import Filtered, Inspected, Scanned, Watched
from policies.rules.backups import OffSite, OwnReader, ThreeCopies, Unchangeable, ZoneApart
from policies.rules.base import Rule, idle, run
from policies.rules.benchmark import OfClusters, OfMachines
from policies.rules.capacity import Holds
from policies.rules.central_logs import CentralLogs
from policies.rules.centres import OwnRoles, OwnServices, PlacesApart, SameRoles, SameZones
from policies.rules.clock import InternalTime
from policies.rules.control_planes import Audited, KeepsSecrets, KnownClients, NobodyUnknown, OwnDoors, OwnGroups
from policies.rules.copies import KeyElsewhere
from policies.rules.devices import NoStandIn
from policies.rules.drilled import Drilled, Rehearsed
from policies.rules.ends import ByBastion, ByProxy, DatabasesApart, StateBodies, WirelessApart
from policies.rules.flows import NoAny
from policies.rules.hardened import Audit, Confined, Drops, Kernel, NothingOld, Updates
from policies.rules.keeping_up import Confirmed, Independent, Young
from policies.rules.level import Level
from policies.rules.objectives import Promised, Synchronous
from policies.rules.personal import Traced
from policies.rules.prefixes import NoOverlap
from policies.rules.quorum import Quorum
from policies.rules.reach import NoWayIn
from policies.rules.recovery import Copied, CopiedElsewhere, Elsewhere, Placed
from policies.rules.root import OwnNames
from policies.rules.signing import (
    DutyAuthority,
    KeptKeys,
    OwnToken,
    SeveralPeople,
    StampsAlone,
    StrongHashes,
    StrongKeys,
    TwoDevices,
)
from policies.rules.ssh import Ssh
from policies.rules.stamps import Stamped, ToTheSecond
from policies.rules.taken import Taken, TakenElsewhere
from policies.rules.tenants import Fenced, Restricted
from policies.rules.trace import Trace
from policies.rules.tunnels import Encrypted
from policies.rules.two_stores import Sealed, TwoStores
from policies.rules.uplinks import Standby, TwoLinks
from policies.rules.workloads import Pinned, Unprivileged
from policies.rules.zones import Apart

REGISTRY: Final[tuple[type[Rule[Any]], ...]] = (
    Trace,
    Level,
    Apart,
    NoAny,
    NoWayIn,
    ByBastion,
    Standby,
    DatabasesApart,
    WirelessApart,
    StateBodies,
    ByProxy,
    NoOverlap,
    Copied,
    Placed,
    PlacesApart,
    SameZones,
    SameRoles,
    Elsewhere,
    CopiedElsewhere,
    Promised,
    Synchronous,
    TwoLinks,
    Holds,
    OwnServices,
    OwnRoles,
    DutyAuthority,
    KeptKeys,
    TwoDevices,
    SeveralPeople,
    OwnToken,
    StrongKeys,
    StrongHashes,
    StampsAlone,
    KeyElsewhere,
    ThreeCopies,
    Unchangeable,
    ZoneApart,
    OwnReader,
    OffSite,
    Traced,
    Restricted,
    Fenced,
    Unprivileged,
    Pinned,
    Quorum,
)
"""Rules for plans."""

LIVE: Final[tuple[type[Rule[Any]], ...]] = (
    Ssh,
    Audit,
    Drops,
    Confined,
    Updates,
    NothingOld,
    Kernel,
    Inspected,
    Filtered,
    Encrypted,
    Scanned,
    Watched,
    OwnNames,
    InternalTime,
    NoStandIn,
    Stamped,
    ToTheSecond,
    CentralLogs,
    TwoStores,
    Sealed,
    NobodyUnknown,
    KeepsSecrets,
    Audited,
    KnownClients,
    OwnDoors,
    OfMachines,
    OwnGroups,
    Young,
    Confirmed,
    Independent,
    Taken,
    TakenElsewhere,
)
"""Rules for machines that run."""

CLUSTER: Final[tuple[type[Rule[Any]], ...]] = (Restricted, Fenced, Unprivileged, Pinned, OfClusters)
"""Rules for a cluster that runs, and for what it holds: most are those for its plan."""

RECORDS: Final[tuple[type[Rule[Any]], ...]] = (Drilled, Rehearsed)
"""Rules for what is on record of an estate."""

__all__ = ["CLUSTER", "LIVE", "RECORDS", "REGISTRY", "Rule", "idle", "run"]
