"""C-LOG-02: logs in two places, and nobody alters them unseen."""

from __future__ import annotations

from collections.abc import Iterator

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.known import Resource, known
from policies.live.facts import Host
from policies.live.stores import LOGS, stores
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.catalogue import Strict

RUN = "run the logging role again"


class Limits(Strict):
    """At how many sites, and after how much silence a sender, or whatever seals, counts as lost."""

    sites: int
    silent_minutes: int
    sealed_minutes: int


class TwoStores(Rule[tuple[Host, str]]):
    """A machine sends to log stores of several sites over TLS, out of queues on its disk, and what it sends arrives."""

    control = "C-LOG-02"
    name = "two-stores"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Host, str]]]:
        if isinstance(resource, Host):
            for label in ("sends", "tls", "queue", "arrives"):
                yield label, (resource, label)

    def judge(self, resource: Resource, subject: tuple[Host, str]) -> Iterator[Fault]:
        host, label = subject
        if label == "arrives":
            yield from self._arrives(host)
            return
        targets = known(host.log_targets, "log_targets")
        if label == "sends":
            yield from self._sends({one.address for one in targets})
        if label == "tls" and (clear := [one.address for one in targets if not one.tls]):
            yield Fault(", ".join(clear), "stores that are asked for their name in TLS alone", RUN)
        if label == "queue" and (lossy := [one.address for one in targets if not one.queue_on_disk]):
            yield Fault(", ".join(lossy), "a bounded queue on the disk for each store", RUN)

    def _sends(self, targets: set[str]) -> Iterator[Fault]:
        keepers = [one for one in self.plan.each(Host) if LOGS in one.services]
        sites = {one.site for one in keepers if targets & {str(address) for address in one.addresses}}
        if len(sites) < self.limits.sites:
            yield Fault(f"log stores of {_names(sites)}", f"of {self.limits.sites} sites or more", RUN)

    def _arrives(self, host: Host) -> Iterator[Fault]:
        limit = self.limits.silent_minutes
        lately = {
            store.host.site
            for store in stores(self.plan)
            if any(one.silent_minutes < limit for one in store.heard(host))
        }
        if len(lately) < self.limits.sites:
            wanted = f"{self.limits.sites} sites or more within {limit} minutes"
            yield Fault(f"heard of at {_names(lately)}", wanted, "see `systemctl status rsyslog` there, and the flows")


class Sealed(Rule[tuple[Host, str]]):
    """A log store has sealed lately, all is as it was, and its chain is the one that it has told the others of."""

    control = "C-LOG-02"
    name = "sealed"

    def __init__(self, plan: PlanFacts, baseline: Baseline) -> None:
        super().__init__(plan, baseline)
        self.limits = Limits.model_validate(baseline.thresholds(self.control))

    def subjects(self, resource: Resource) -> Iterator[tuple[str, tuple[Host, str]]]:
        if isinstance(resource, Host) and LOGS in resource.services:
            for label in ("seals", "lately", "witnessed"):
                yield label, (resource, label)

    def judge(self, resource: Resource, subject: tuple[Host, str]) -> Iterator[Fault]:
        host, label = subject
        told = known(host.log_store, "log_store")
        if told is None:
            if label == "seals":
                yield Fault("no log store that answers", "one", "see `qhs-logs status` there")
            return
        if label == "seals" and told.faults:
            wanted = "logs as they were sealed"
            yield Fault("; ".join(told.faults), wanted, "`qhs-logs verify` there; another store has the lines")
        limit = self.limits.sealed_minutes
        if label == "lately" and (told.sealed_minutes is None or told.sealed_minutes >= limit):
            found = "no seal" if told.sealed_minutes is None else f"a last seal {told.sealed_minutes} minutes ago"
            yield Fault(found, f"one less than {limit} minutes ago", "see `systemctl status qhs-logs-seal.timer` there")
        if label == "witnessed":
            yield from self._witnessed(self._others(host), set(told.heads))

    @staticmethod
    def _witnessed(others: set[str], own: set[str]) -> Iterator[Fault]:
        if not others:
            yield Fault("seals that no other store was told of", "a witness", "see `systemctl status rsyslog` there")
        if others - own:
            found = f"{len(others - own)} seals that other stores were told of and it does not have"
            yield Fault(found, "a chain that only grows", "take what it has for altered; another store has the lines")

    def _others(self, host: Host) -> set[str]:
        """The heads that this store has told to others."""
        own = {str(address) for address in host.addresses}
        return {
            head
            for store in stores(self.plan)
            if store.host != host
            for address in own & store.told.witnessed.keys()
            for head in store.told.witnessed[address]
        }


def _names(sites: set[str]) -> str:
    return ", ".join(sorted(sites)) or "no site"
