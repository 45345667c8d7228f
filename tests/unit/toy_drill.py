"""A drill of two sites that are files in a folder, for tests of what carries plans out: its actions really change them.

A run dies, by SIGKILL, before or after any of its actions, and before, within or after any line of its journal.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from qhs.chain import bound
from qhs.drill import journal as journals
from qhs.drill.actions import Actions, Call, Evidence, UnmetError
from qhs.drill.journal import Began, Entry, Journal, Objective
from qhs.drill.plan import Script, of
from qhs.drill.runner import Runner, go_on
from qhs.drill.written import Gap, Written
from qhs.errors import UserError
from qhs.progress import silent
from stacks.model.catalogue import Tier, Title

TIERS = {
    1: Tier(title=Title(vi="Một", en="One"), rto_minutes=2, rpo_minutes=0, mtd_minutes=60, replica=True),
    3: Tier(title=Title(vi="Ba", en="Three"), rto_minutes=0, rpo_minutes=0, mtd_minutes=60, replica=False),
}
PLAN = """\
title: { vi: Thử, en: Trial }
serves: [C-DR-04]
begins: active
conditions:
  - { title: { vi: Hỏi, en: Asks }, do: ask, within: 6, by_hand: ["look at {old}"] }
steps:
  - name: dark
    title: { vi: Tắt, en: Power off }
    do: switch-off
    site: old
    within: 6
    by_hand: ["pull the plug of {old}"]
    back: [{ do: switch-on, site: old, within: 6, by_hand: ["plug {old} in"] }]
  - name: choose
    title: { vi: Chọn, en: Choose }
    phase: promote
    do: choose
    site: new
    within: 6
    by_hand: ["choose {new}"]
    verify: [{ do: ask, within: 6 }]
    back: [{ do: choose-again, site: old, within: 6, by_hand: ["choose {old}"] }]
  - name: active
    title: { vi: Chờ, en: Await }
    phase: promote
    do: await-active
    site: new
    within: 6
    by_hand: [look]
  - { name: bright, title: { vi: Bật, en: Power on }, do: switch-on, site: old, within: 6, by_hand: [plug] }
  - { name: same, title: { vi: So, en: Compare }, do: compare, limit: 3, within: 6, by_hand: [look] }
keeps: active
ends:
  - { do: one-primary, within: 6, by_hand: [look] }
"""
TOY: Actions[Toy] = Actions()


class Fuse:
    """Kills this process at the moment with a number; 0: never."""

    def __init__(self, at: int = 0) -> None:
        self.left = at

    def burn(self) -> bool:
        """Whether it is now."""
        self.left -= 1
        return self.left == 0


@dataclass
class Toy:
    """The two sites, and the client that writes."""

    folder: Path
    fuse: Fuse
    old: str = "old"
    new: str = "new"

    def read(self, name: str, default: str = "") -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else default

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def power(self, site: str) -> bool:
        return self.read(f"power-{site}", "on") == "on"

    @property
    def chosen(self) -> str:
        return self.read("chosen", "old")

    @property
    def primary(self) -> str:
        """The site that is chosen, where it has power."""
        return self.chosen if self.power(self.chosen) else ""

    def start(self) -> None:
        self.write("client", "writes")

    def goes_on(self) -> None:
        if self.read("client") not in ("writes", "ended"):
            raise UnmetError("nobody writes")

    def leave(self) -> None:
        self.write("client", "left")

    def stop(self) -> Written:
        self.goes_on()
        self.write("client", "ended")
        began = Journal.read(self.folder / "run").entries[0].at
        return Written(rows=10, gap=Gap(after=began, until=began, over=True))


def acts(name: str, *, changes: bool = False, of_site: bool = True, limit: str = "", at_rest: bool = False):
    """An action that may die before or after it has done anything."""

    def wrap(run):
        def dying(toy: Toy, call: Call) -> Evidence:
            if toy.fuse.burn():
                die()
            evidence = run(toy, getattr(toy, call.site) if call.site else "")
            if toy.fuse.burn():
                die()
            return Evidence.of(f"{name} is so", site=call.site, **evidence)

        dying.__doc__ = f"Has {name}."
        return TOY.action(name, changes=changes, of_site=of_site, limit=limit, at_rest=at_rest)(dying)

    return wrap


def unless(toy: Toy, name: str) -> None:
    if toy.read(name):
        raise UnmetError(f"found {name}; wanted none")


@acts("ask", of_site=False)
def ask(toy: Toy, _: str) -> dict[str, str]:
    unless(toy, "refuses")
    return {"primary": toy.primary}


@acts("switch-off", changes=True)
def switch_off(toy: Toy, site: str) -> dict[str, str]:
    toy.write(f"power-{site}", "off")
    return {}


@acts("switch-on", changes=True)
def switch_on(toy: Toy, site: str) -> dict[str, str]:
    unless(toy, "no-power")
    toy.write(f"power-{site}", "on")
    return {}


@acts("choose", changes=True)
def choose(toy: Toy, site: str) -> dict[str, str]:
    toy.write("chosen", site)
    return {}


@acts("choose-again", changes=True)
def choose_again(toy: Toy, site: str) -> dict[str, str]:
    toy.write("chosen", site)
    return {}


@acts("await-active")
def await_active(toy: Toy, site: str) -> dict[str, str]:
    if toy.read("stuck"):
        raise UserError("found stuck; wanted none", "none")
    if toy.primary != site:
        raise UnmetError(f"found {toy.primary}; wanted {site}")
    return {}


@acts("compare", of_site=False, limit="rows", at_rest=True)
def compare(toy: Toy, _: str) -> dict[str, str]:
    unless(toy, "differs")
    assert toy.read("client") != "writes", "compared while somebody writes"
    return {}


@acts("one-primary", of_site=False)
def one_primary(toy: Toy, _: str) -> dict[str, str]:
    if not toy.primary:
        raise UnmetError("found no primary; wanted one")
    return {"primary": toy.primary}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def script(text: str = PLAN) -> Script:
    return of("trial", text, TOY, TIERS, Path("trial.yaml"))


def began(text: str = PLAN) -> Began:
    objective = Objective(tenant="one", title=Title(vi="Một", en="One"), tier=1, rto=120, rpo=0)
    return Began(
        name="trial", plan=text, environment="twin", old="old", new="new", commit="0" * 40, versions={"python": "3"},
        objectives=[objective],
    )  # fmt: skip


def run(folder: Path, fuse: Fuse | None = None, *, back: bool = False) -> Journal:
    """Hold the drill in a folder, or go on with it."""
    plan, own, fuse = script(), folder / "run", fuse or Fuse()
    with Breaking(fuse):
        if journals.journals(folder):
            journal = Journal.read(own)
            go_on(journal, back=back)
        else:
            journal = Journal.begin(own, plan.digest, began())
        toy = Toy(folder, fuse)
        Runner(plan.plan, TOY, toy, toy, journal, silent).run()
    return journal


def dies(folder: Path, at: int, *, back: bool = False) -> bool:
    """Whether a run, in a process of its own, was killed at a moment; else it went to its end."""
    child = multiprocessing.get_context("fork").Process(target=run, args=(folder, Fuse(at)), kwargs={"back": back})
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


class Breaking:
    """While it lasts, a journal's line may be the last thing that this process writes, whole, in part or not at all."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse, self._whole = fuse, Journal._append

    def __enter__(self) -> None:
        fuse, whole = self._fuse, self._whole

        def append(journal: Journal, entry: Entry) -> None:
            if fuse.burn():
                die()
            if fuse.burn():
                line = bound(entry).model_dump_json().encode()
                with (journal.folder / journals.NAME).open("ab") as file:
                    file.write(line[: len(line) // 2])
                die()
            whole(journal, entry)
            if fuse.burn():
                die()

        Journal._append = append  # put back below

    def __exit__(self, *_: object) -> None:
        Journal._append = self._whole
