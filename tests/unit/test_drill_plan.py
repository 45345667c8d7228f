"""Plans of drills: those that there are can be carried out and undone; one that could not is refused with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qhs.drill import plan
from qhs.drill.known import ESTATE
from qhs.errors import UserError
from qhs.main import app
from stacks.model import Estate, ModelError
from stacks.model.catalogue import Tier
from tests.unit.toy_drill import PLAN, TIERS, TOY

MOVES = ["failback", "failover", "switchover"]


def refused(text: str, tiers: dict[int, Tier] = TIERS) -> str:
    with pytest.raises(ModelError) as error:
        plan.of("trial", text, TOY, tiers, Path("trial.yaml"))
    return str(error.value)


def test_an_unknown_plan_is_refused_with_those_that_there_are(estate: Estate) -> None:
    with pytest.raises(UserError, match=r"no plan 'move'.*\n.*failback, failover, restore, switchover, test"):
        plan.read("move", ESTATE, estate.catalogue.tiers)


@pytest.mark.parametrize("name", MOVES)
def test_every_plan_can_be_carried_out_and_undone(name: str, estate: Estate) -> None:
    script = plan.read(name, ESTATE, estate.catalogue.tiers)
    assert plan.names() == sorted([*MOVES, "restore", "test"])
    asks = {one.do for one in script.plan.conditions}
    assert {"both-sites-answer", "replica-streams", "lag-within", "clocks-agree", "room"} <= asks
    assert [one.do for one in script.plan.ends] == ["one-primary"]


def test_a_failover_fences_and_shows_that_nothing_is_written_before_it_promotes(estate: Estate) -> None:
    steps = [one.do for one in plan.read("failover", ESTATE, estate.catalogue.tiers).plan.steps]
    assert steps.index("await-gone") < steps.index("may-promote") < steps.index("fence") < steps.index("choose")


UNSAFE = {
    "decide": "a step before it that shows that nothing can be written there",
    "fence": "a step before it that takes its power",
}


@pytest.mark.parametrize("left_out", UNSAFE)
def test_a_failover_that_leaves_a_safeguard_out_is_refused(left_out: str, estate: Estate) -> None:
    text = without(plan.read("failover", ESTATE, estate.catalogue.tiers).text, left_out)
    with pytest.raises(ModelError) as error:
        plan.of("failover", text, ESTATE, estate.catalogue.tiers, Path("failover.yaml"))
    assert f"found choose, which promotes where the old site may be lost; wanted {UNSAFE[left_out]}" in str(error.value)


def test_a_fence_of_the_site_that_is_promoted_is_none_of_the_other(estate: Estate) -> None:
    text = plan.read("failover", ESTATE, estate.catalogue.tiers).text
    text = text.replace("    do: fence\n    site: old\n", "    do: fence\n    site: new\n")
    with pytest.raises(ModelError, match="wanted a step before it that takes its power"):
        plan.of("failover", text, ESTATE, estate.catalogue.tiers, Path("failover.yaml"))


def test_one_that_loses_nothing_needs_none_as_the_old_site_is_asked(estate: Estate) -> None:
    text = plan.read("failover", ESTATE, estate.catalogue.tiers).text
    for name in ("disaster", "gone", "decide", "fence"):
        text = without(text, name)
    assert plan.of("failover", text, ESTATE, estate.catalogue.tiers, Path("failover.yaml"))


def without(text: str, step: str) -> str:
    """A plan's text, one step less."""
    before, own, after = text.partition(f"  - name: {step}\n")
    assert own
    return before + after[after.index("  - name: ") :]


def test_a_restore_moves_nothing_and_leaves_nothing(estate: Estate) -> None:
    script = plan.read("restore", ESTATE, estate.catalogue.tiers)
    assert (script.plan.begins, script.plan.seconds()) == ("stays", 0)
    assert [one.do for one in script.plan.steps] == ["choose-point", "restore", "restored-agrees", "nothing-left"]
    assert [one.do for one in script.plan.ends] == ["one-primary", "nothing-left"]


@pytest.mark.parametrize("name", [*MOVES, "restore"])
def test_a_plan_says_what_people_do_by_hand(name: str) -> None:
    said = CliRunner().invoke(app, ["drill", "plan", name])
    assert said.exit_code == 0
    does = "ssh qhdc-db1 sudo systemctl start qhs-database-restore" if name == "restore" else "qhs lease choose"
    assert f"by hand: {does}" in said.stdout
    assert ("may have taken writes" in said.stdout) == (name != "restore")
    assert "way back" in said.stdout
    assert not re.search(r"\{(old|new)\}", said.stdout)


FAULTS = {
    "no-way-back": (
        '    back: [{ do: switch-on, site: old, within: 6, by_hand: ["plug {old} in"] }]\n',
        "",
        "trial.yaml:7: found dark, which changes something and has no way back; wanted `back`: how to undo it",
    ),
    "useless-way-back": (
        "    by_hand: [look]\n",
        "    by_hand: [look]\n    back: [{ do: choose-again, site: old, within: 6, by_hand: [no] }]\n",
        "found a way back of active, which nobody ever undoes; wanted none",
    ),
    "unknown-action": ("do: choose\n", "do: chose\n", "found the action 'chose'; wanted one of ask, await-active"),
    "no-site": ("    do: choose\n    site: new\n", "    do: choose\n", "found choose of no site; wanted old or new"),
    "needless-site": ("do: ask, within", "do: ask, site: old, within", "found ask of old; wanted none"),
    "no-limit": ("limit: 3, ", "", "found compare with the limit None; wanted rows"),
    "needless-limit": (
        "do: one-primary, ", "do: one-primary, limit: 1, ",
        "found one-primary with the limit 1.0; wanted none: it measures nothing",
    ),
    "changing-condition": (
        "do: ask, within: 6, by", "do: choose, site: old, within: 6, by",
        "trial.yaml:5: found choose, which changes something; wanted an action that only asks",
    ),
    "twice": ("name: bright", "name: dark", "found dark twice; wanted each once"),
    "keeps": ("keeps: active", "keeps: nothing", "found nothing; wanted a step: dark, choose, active, bright, same"),
    "unbounded": ("switch-off\n    site: old\n    within: 6\n", "switch-off\n    site: old\n", "no steps.0.within"),
    "no-hands": ("by_hand: [plug]", "by_hand: []", "steps.3.by_hand"),
    "strange-word": ('"choose {new}"', '"choose {site}"', "found {site}; wanted {old} or {new}"),
    "no-conditions": ("conditions:\n  - {", "conditions: []\nother:\n  - {", "conditions"),
    "too-long": (
        "    phase: promote\n    do: await-active\n    site: new\n    within: 6\n",
        "    phase: promote\n    do: await-active\n    site: new\n    within: 119\n",
        "found steps that may keep everybody from writing for 131 s; wanted 120 s at most: the RTO of tier 1",
    ),
    "backwards": (
        "    phase: promote\n    do: await-active", "    phase: fence\n    do: await-active",
        "found phases that go back; wanted this order: detect, decide, fence, promote, redirect",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plan_that_cannot_be_right_is_refused(fault: str) -> None:
    before, after, said = FAULTS[fault]
    assert before in PLAN
    assert said in refused(PLAN.replace(before, after))


def test_an_objective_that_nobody_could_meet_is_refused() -> None:
    hasty = TIERS[1].model_copy(update={"rto_minutes": 0})
    said = refused(PLAN, {1: hasty})
    assert "found tier 1 with an RTO of 0 s in stacks/catalogue/tiers.yaml, which nobody could meet" in said
    assert "wanted more than the 15 s for which a site that is gone still has the lease" in said
