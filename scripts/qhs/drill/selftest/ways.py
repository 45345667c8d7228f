"""How faults come into the twin, and out of it: commands on machines, wires, power, and the client outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from qhs.drill.ground import Database, Ground
from qhs.drill.journal import Began
from qhs.drill.selftest.deeds import Cut, Dark, Deed, Half, Ran, Writing
from qhs.drill.selftest.faults import Client, Cuts, On, PowersOff, Runs
from qhs.errors import UserError
from qhs.ledger.book import Ledger
from qhs.twin import outage
from qhs.twin.asking import ask
from qhs.twin.names import Twin
from stacks.model import Estate, ingress, ledger, service_names
from stacks.model.data import SERVICE
from stacks.model.estate import HSM

PROGRAM = "import subprocess, sys; sys.exit(subprocess.run(['sh', '-ec', {text!r}]).returncode)"
SQL = "runuser -u postgres -- psql -h /run/qhs-database -AtXq -v ON_ERROR_STOP=1"


@dataclass(frozen=True)
class TwinWays:
    """Of a twin."""

    estate: Estate
    twin: Twin

    def meant(self, inject: Runs | Cuts | PowersOff | Client, began: Began) -> Deed:
        """By names. Raises UserError."""
        ground = Ground(self.estate, self.twin, began.old, began.new)
        match inject:
            case Runs():
                words = self.words(ground)
                does, undoes = (one.format(**words) for one in (inject.does, inject.undoes))
                return Ran(machines=self.machines(inject.on, ground), does=does, undoes=undoes)
            case Cuts(wires="third-site"):
                return Cut(wires=ground.third)
            case Cuts():
                edge = self._holder(ground.new, ingress.EDGE)
                return Cut(wires=f"{edge}:{self.estate.machines[edge].interfaces[0].name}")
            case PowersOff():
                return Dark(machine=self.machines(inject.on, ground)[0])
            case Client():
                return Writing(site=began.new, how=inject.how)
        assert_never(inject)

    def do(self, deed: Deed) -> None:
        """Twice is as good as once. Raises UserError."""
        match deed:
            case Ran():
                self._run(deed.machines, deed.does)
            case Cut():
                outage.cut(self.twin, deed.wires)
            case Dark():
                outage.power_off(self.twin, deed.machine)
            case Writing(how="ended"):
                Ledger.found(self.twin, self.estate, deed.site).stop()
            case Writing(how="dies"):
                Ledger.found(self.twin, self.estate, deed.site).die()
            case Writing() | Half():
                pass
            case _:
                assert_never(deed)

    def undo(self, deed: Deed) -> None:
        """Also where it was not done, or in part. Raises UserError."""
        match deed:
            case Ran():
                if deed.undoes:
                    self._run(deed.machines, deed.undoes)
            case Cut():
                outage.heal(self.twin, deed.wires)
            case Dark():
                outage.power_on(self.twin, deed.machine)
            case Writing():
                self._end(deed.site)
            case Half():
                pass
            case _:
                assert_never(deed)

    def words(self, ground: Ground) -> dict[str, str]:
        """What commands name: `{sql}` the databases of the machine, `{database}` that of drills and its role,
        `{sources}` the addresses of the databases that copies follow, `{service}` the name of the databases and
        `{old}` where it leads before anything moves."""
        sources = [address for name in ground.machines(ground.old) for address in self.estate.machines[name].addresses]
        return {
            "sql": SQL,
            "database": ledger.database(self.estate),
            "sources": " ".join(sources),
            "service": service_names.name(self.estate, SERVICE),
            "old": service_names.leads(self.estate, SERVICE)[ground.old].texts()[0],
        }

    def machines(self, on: On, ground: Ground) -> list[str]:
        """Those that are meant. Raises UserError where there is none."""
        if not (found := [*self._meant(on, ground)]):
            raise UserError(f"found no machine that is {on}; wanted one", "`qhs lease status`, `qhs twin status`")
        return found

    def _meant(self, on: On, ground: Ground) -> Iterator[str]:
        match on:
            case "old-leader":
                yield from (name for name, one in ground.databases(ground.old).items() if one.writable)
            case "new-leader":
                yield from (name for name, one in ground.databases(ground.new).items() if _leads(one))
            case "new-follower":
                found = ground.databases(ground.new).items()
                yield from [name for name, one in found if not one.wrong and not _leads(one)][:1]
            case "third-resolver":
                yield self._holder(ground.third, ledger.NAMES)
            case "signers":
                yield from (one.name for site in (ground.old, ground.new) for one in self.estate.with_role(site, HSM))

    def _holder(self, site: str, service: str) -> str:
        held = (one for one in self.estate.machines.values() if one.site == site)
        return next(one.name for one in held if service in {it.service for it in one.services})

    def _run(self, machines: list[str], text: str) -> None:
        answers = ask(self.twin, PROGRAM.format(text=text), dict.fromkeys(machines, ()))
        if silent := [f"{name}: {one.missing}" for name, one in answers.items() if one.missing]:
            raise UserError(
                f"found no end of `{text}` on {'; '.join(silent)}; wanted it done", f"`{text}` there, as root"
            )

    def _end(self, site: str) -> None:
        """The client there, if there is one: nobody wants its record."""
        try:
            found = Ledger.found(self.twin, self.estate, site)
        except UserError:
            return
        found.leave()


def _leads(one: Database) -> bool:
    return one.role == "standby_leader"
