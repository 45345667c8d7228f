"""The registry of rules. One property each; what they need to know of the law stands in the baseline."""

from __future__ import annotations

from typing import Any, Final

from policies.rules.agents import Filtered, Inspected, Scanned, Watched
from policies.rules.base import Rule, idle, run
from policies.rules.central_logs import CentralLogs
from policies.rules.clock import InternalTime
from policies.rules.control_planes import Audited, KeepsSecrets, NobodyUnknown, OwnGroups
from policies.rules.copies import KeyElsewhere
from policies.rules.devices import NoStandIn
from policies.rules.ends import ByBastion, ByProxy, DatabasesApart, StateBodies, WirelessApart
from policies.rules.flows import NoAny
from policies.rules.hardened import Audit, Confined, Drops, Kernel, NothingOld, Updates
from policies.rules.level import Level
from policies.rules.personal import Traced
from policies.rules.prefixes import NoOverlap
from policies.rules.reach import NoWayIn
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
from policies.rules.trace import Trace
from policies.rules.tunnels import Encrypted
from policies.rules.two_stores import Sealed, TwoStores
from policies.rules.uplinks import Standby, TwoLinks
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
    TwoLinks,
    DutyAuthority,
    KeptKeys,
    TwoDevices,
    SeveralPeople,
    OwnToken,
    StrongKeys,
    StrongHashes,
    StampsAlone,
    KeyElsewhere,
    Traced,
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
    OwnGroups,
)
"""Rules for machines that run."""

__all__ = ["LIVE", "REGISTRY", "Rule", "idle", "run"]
