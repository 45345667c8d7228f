"""The store of a site's cluster, on all its members: a snapshot of it, and one given back.

Data made of a snapshot is laid beside what the members go on with; only then does everything stop, and what was before
is kept until the new store and the API are well, or is taken again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from qhs.cloud import machines
from qhs.errors import UserError
from qhs.progress import Progress
from qhs.twin.names import Twin

PROGRAM = "/usr/local/lib/qhs-etcd-snapshots/qhs_etcd_snapshots.py"
MEMBER = "/usr/local/lib/qhs-etcd/qhs_etcd.py"
SERVES = (MEMBER, "check", "etcd")
REVISION = (MEMBER, "revision", "etcd")
AHEAD = 1_000_000
"""Revisions that may come while data is made: a thousand writes a second for a quarter of an hour. As microseconds they
are no longer than any restore takes."""
SERVER = "qhs-etcd.service"
PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""Of a control plane, in the order in which they start: each asks the first."""
UNITS = tuple(f"qhs-{part}.service" for part in PARTS)
ANSWERS = ("systemctl", "is-active", UNITS[0])
"""It is up only once it answers; started without its certificates it would be passed over without a word."""
PATIENCE = 60
"""Seconds for the members to agree who leads."""


@dataclass(frozen=True)
class Snapshot:
    """One that verified."""

    machine: str
    name: str
    at: datetime
    revision: int


@dataclass(frozen=True)
class Store:
    """Of the cluster of a site."""

    twin: Twin
    site: str
    members: tuple[str, ...]

    def newest(self) -> Snapshot:
        """Of all members. Raises UserError where none of them has one that verifies."""
        found, said = [], []
        for machine in self.members:
            try:
                found.append(self._told(machine, "newest"))
            except UserError as error:
                said.append(error.what)
        if not found:
            raise UserError(
                f"{self.site}: found no snapshot that verifies ({'; '.join(said)})",
                "`systemctl start qhs-etcd-snapshot` on a control plane takes one; where a store is lost without any, "
                "`qhs up` begins one and declares all anew",
            )
        return max(found, key=lambda one: one.at)

    def named(self, name: str) -> Snapshot:
        """Raises UserError where no member has it, or it does not verify."""
        said = []
        for machine in self.members:
            try:
                return self._told(machine, "verify", name)
            except UserError as error:
                said.append(error.what)
        raise UserError(f"{self.site}: found no whole snapshot {name} ({'; '.join(said)})", "name another one, or none")

    def take(self) -> Snapshot:
        """One of now. Raises UserError where there is none that verifies: nothing else was done then."""
        machines.run(self.twin, self.members[0], "systemctl", "start", "qhs-etcd-snapshot.service")
        return self._told(self.members[0], "newest")

    def hold(self, snapshot: Snapshot) -> str:
        """The name by which it is kept until `release`, however many newer ones come. Raises UserError."""
        return machines.run(self.twin, snapshot.machine, PROGRAM, "hold", snapshot.name).decode().strip()

    def release(self) -> None:
        """Raises UserError."""
        machines.everywhere(self.twin, self.members, PROGRAM, "release")

    def give_back(self, snapshot: Snapshot, progress: Progress) -> None:
        """Have all members hold what a snapshot does, and the API serve it.

        Raises UserError, with what was before in effect again unless that fails too. Cut off, the next run begins anew.
        """
        self._settle_earlier()
        self._hand_on(snapshot)
        progress(
            f"{self.site}: making data of {snapshot.name} (revision {snapshot.revision}); everything serves meanwhile"
        )
        machines.everywhere(self.twin, self.members, PROGRAM, "prepare", snapshot.name, str(self._bump(snapshot)))
        try:
            self._replace("swap", progress)
        except UserError as error:
            progress(f"{self.site}: {error.what}; taking what was before again")
            self._replace("back", progress)
            raise
        machines.everywhere(self.twin, self.members, PROGRAM, "settle")

    def _bump(self, snapshot: Snapshot) -> int:
        """Revisions by which the data of all members is to be ahead of a snapshot.

        Whoever watches goes on from a revision that it has seen, so none may come twice: neither one of the store that
        serves, nor one of a store that an earlier restore brought and that is gone. The time in microseconds is above
        all of these, as nobody writes faster than it passes, and needs no member that answers; what members know needs
        no clock that is right.
        """
        known = max([snapshot.revision, *self._revisions()])
        return max(known + AHEAD, time.time_ns() // 1000) - snapshot.revision

    def _revisions(self) -> Iterator[int]:
        """Of members that answer: a store is given back where they do not, too."""
        for machine in self.members:
            with suppress(UserError):
                yield int(machines.run(self.twin, machine, *REVISION))

    def _replace(self, verb: str, progress: Progress) -> None:
        """While nobody asks it. Raises UserError where the store, or the API on it, does not come."""
        machines.everywhere(self.twin, self.members, "systemctl", "stop", *reversed(UNITS), SERVER)
        machines.everywhere(self.twin, self.members, PROGRAM, verb)
        progress(f"{self.site}: starting the store, then what asks it")
        machines.everywhere(self.twin, self.members, "systemctl", "start", SERVER)
        self._await_leader()
        machines.everywhere(self.twin, self.members, "systemctl", "start", *UNITS)
        machines.everywhere(self.twin, self.members, *ANSWERS)

    def _await_leader(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                machines.everywhere(self.twin, self.members, *SERVES)
            except UserError:
                if time.monotonic() > end:
                    raise
                time.sleep(1)
            else:
                return

    def _settle_earlier(self) -> None:
        """What a restore that was cut off kept is what was before, unless what it brought already serves."""
        try:
            machines.everywhere(self.twin, self.members, *SERVES)
            machines.everywhere(self.twin, self.members, *ANSWERS)
        except UserError:
            return
        machines.everywhere(self.twin, self.members, PROGRAM, "settle")

    def _hand_on(self, snapshot: Snapshot) -> None:
        """Each member makes its data of the same one."""
        others = [machine for machine in self.members if machine != snapshot.machine]
        if others:
            content = machines.run(self.twin, snapshot.machine, "cat", f"/var/lib/qhs-etcd-snapshots/{snapshot.name}")
            for machine in others:
                machines.run(self.twin, machine, PROGRAM, "receive", snapshot.name, given=content)

    def _told(self, machine: str, *verb: str) -> Snapshot:
        found = json.loads(machines.run(self.twin, machine, PROGRAM, *verb))
        return Snapshot(machine, found["name"], datetime.fromtimestamp(found["seconds"], UTC), found["revision"])
