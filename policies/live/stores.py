"""The log stores of an estate, among its machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from policies.facts import PlanFacts
from policies.known import known
from policies.live.facts import Heard, Host, LogStore

LOGS = "logs"


@dataclass(frozen=True)
class Store:
    """A machine that is to keep logs, with what it says."""

    host: Host
    told: LogStore

    def heard(self, host: Host) -> Iterator[Heard]:
        """What it has of a machine, from each address that the machine has sent from."""
        yield from (self.told.senders[one] for one in map(str, host.addresses) if one in self.told.senders)


def stores(plan: PlanFacts) -> tuple[Store, ...]:
    """Those that answer as one; that a machine does not is a fault of its own. Raises Undecided."""
    keepers = [host for host in plan.each(Host) if LOGS in host.services]
    answers = ((host, known(host.log_store, f"log_store of {host.name}")) for host in keepers)
    return tuple(Store(host, told) for host, told in answers if told is not None)
