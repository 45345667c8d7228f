"""The estate as a drill finds it: what its machines, its lease and those who look from outside say of its sites."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from qhs import power
from qhs.drill.actions import Call, UnmetError
from qhs.etcd import LEASE_PEERS
from qhs.lease.cli import PROGRAM as LEASE_PROGRAM
from qhs.lease.cli import LeaseReport, judged
from qhs.twin import endpoint, inside
from qhs.twin.asking import Answer, ask
from qhs.twin.names import Twin
from qhs.twin.standing import Standing
from qhs.twin.topology import Machine
from stacks.model import Estate, lease
from stacks.model.data import members
from stacks.model.estate import DATABASE

PROGRAM = Path(__file__).with_name("remote.py")
EDGE = "public-edge"
EDGE_PORT = 443
PATIENCE = 3
"""Seconds for somebody outside to be answered."""
INTERNET = "internet"


class Database(BaseModel):
    """How a machine's database stands, by its own account."""

    wrong: str
    """Why it does not say; empty: it does."""
    role: str = ""
    state: str = ""
    streams: bool = False
    timeline: int = 0
    writable: bool = False
    position: int = 0
    """Bytes of log that it has written, or taken over."""
    age: float | None = None
    """Seconds since the last change that a copy took over was made; of one that took over none yet nobody knows."""
    free_mib: int = 0


@dataclass(frozen=True)
class Ground:
    """What actions are done on."""

    estate: Estate
    twin: Twin
    old: str
    new: str
    shown: Callable[[str], bool] = lambda _: False
    """Whether a step of this drill that did an action is done."""
    found: Callable[[str], Mapping[str, Any]] = lambda _: {}
    """What such a step found."""
    at: str = ""
    """The point to which databases are restored; empty: one at random."""

    def site(self, call: Call) -> str:
        """The site that an action is for."""
        return self.old if call.site == "old" else self.new

    def other(self, site: str) -> str:
        """The one that it changes places with."""
        return self.new if site == self.old else self.old

    def machines(self, site: str) -> list[str]:
        """Those of its databases."""
        return sorted(one.name for one in self.estate.with_role(site, DATABASE))

    def databases(self, *sites: str) -> dict[str, Database]:
        """How those of some sites stand, by machine."""
        answers = self._asked([name for site in sites for name in self.machines(site)], "database")
        return {
            name: Database(wrong=one.missing) if one.missing else Database.model_validate_json(one.said)
            for name, one in answers.items()
        }

    def told(self, names: Iterable[str], *words: str) -> dict[str, Any]:
        """What machines answer. Raises UnmetError where one does not."""
        answers = self._asked(names, *words)
        if silent := [f"{name}: {one.missing}" for name, one in answers.items() if one.missing]:
            raise UnmetError(f"found no answer of {'; '.join(silent)}; wanted one of each")
        return {name: json.loads(one.said) for name, one in answers.items()}

    def nothing_left(self, site: str, verb: str, wanted: str) -> dict[str, list[str]]:
        """By machine of a site's databases that nothing is there of what a verb lists. Raises UnmetError."""
        left: dict[str, list[str]] = self.told(self.machines(site), verb)
        if still := {name: what for name, what in left.items() if what}:
            told = "; ".join(f"{', '.join(what)} at {name}" for name, what in still.items())
            raise UnmetError(f"found {told}; wanted {wanted}")
        return left

    def _asked(self, names: Iterable[str], *words: str) -> dict[str, Answer]:
        return ask(self.twin, PROGRAM.read_text(), dict.fromkeys(names, words))

    def lease(self, without: str = "") -> LeaseReport:
        """As its members say, but those of one site: what any of them says, most of them do."""
        there = self.voting(*(site for site in self.estate.active_sites if site != without))
        return judged(self.estate, ask(self.twin, LEASE_PROGRAM.read_text(), {name: ["status"] for name in there}))

    def voting(self, *sites: str) -> list[str]:
        """The members of the lease's store at some sites: each asks the resolver of its own site for names."""
        return [name for name in lease.members(self.estate) if self.estate.machines[name].site in sites]

    def seen(self, sites: Iterable[str]) -> dict[str, dict[str, bool]]:
        """By vantage point whether each site answers there: at the third site, and to a client on the Internet."""
        with ThreadPoolExecutor() as pool:
            third = pool.submit(self._from_third, [*sites])
            outside = pool.submit(self._from_outside, [*sites])
            return {self.third: third.result(), "outside": outside.result()}

    @property
    def third(self) -> str:
        """The site that has a vote and no databases."""
        voting = {self.estate.machines[name].site for name in lease.members(self.estate)}
        return min(voting - members(self.estate).keys())

    def _from_third(self, sites: list[str]) -> dict[str, bool]:
        """Whether the lease's member there reaches those of the sites; one that cannot say is no witness."""
        at = {self.estate.machines[name].site: (name, address) for name, address in lease.members(self.estate).items()}
        own = at[self.third][0]
        return {site: bool(self.told([own], "reach", at[site][1], str(LEASE_PEERS))[own]) for site in sites}

    def _from_outside(self, sites: list[str]) -> dict[str, bool]:
        client = next(name for name, one in self.estate.inventory.clients.items() if one.place == INTERNET)
        where = self.twin.netns_path(client)
        edges = {
            site: next(one.targets[0].texts()[0] for one in self.estate.served(site) if one.service == EDGE)
            for site in sites
        }
        return {site: inside.call(where, partial(_answers, edge)) for site, edge in edges.items()}

    def powered(self, site: str) -> dict[str, bool]:
        """Which machines of its databases have power, by what switches it."""
        return self._switched(site, power.is_on)

    def fence(self, site: str) -> list[str]:
        """Cut the power of the machines of its databases; those that had it. Raises UserError."""
        had = self._switched(site, lambda service, name: power.force(service, name, on=False))
        return [name for name, changed in had.items() if changed]

    def _switched(self, site: str, ask: Callable[[power.Service, str], bool]) -> dict[str, bool]:
        topology = Standing.load(self.twin).topology
        machines = [one for one in topology.machines if one.name in self.machines(site)]

        def one(machine: Machine) -> bool:
            service = endpoint.service(self.twin, topology, machine)
            return inside.call(self.twin.netns_path(), lambda: ask(service, machine.name))

        with ThreadPoolExecutor() as pool:
            return dict(zip((one.name for one in machines), pool.map(one, machines), strict=True))

    def clocks(self) -> dict[str, float]:
        """By machine by how many seconds its clock is off ours for certain: what the question took is taken away."""
        names = [*self.machines(self.old), *self.machines(self.new), *lease.members(self.estate)]

        def off(name: str) -> float:
            before = time.time()
            said = float(self.told([name], "clock")[name])
            return max(0.0, before - said, said - time.time())

        with ThreadPoolExecutor() as pool:
            return dict(zip(names, pool.map(off, names), strict=True))


def _answers(address: str) -> bool:
    try:
        socket.create_connection((address, EDGE_PORT), PATIENCE).close()
    except OSError:
        return False
    return True
