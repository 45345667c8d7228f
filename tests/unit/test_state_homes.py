"""Where the state of a stack is, and how the engine finds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qhs.engine import Engine, Home
from qhs.errors import UserError
from qhs.state import homes
from qhs.state.pulumi import named
from qhs.twin.names import Twin
from stacks.model import load


@pytest.mark.parametrize(
    ("words", "stack"),
    [
        (["up", "-s", "twin.ndc.network", "--yes"], "twin.ndc.network"),
        (["preview", "--stack=twin.ndc.signing"], "twin.ndc.signing"),
        (["preview", "--stack", "twin.ndc.signing"], "twin.ndc.signing"),
        (["stack", "ls"], ""),
        (["up", "-s"], ""),
    ],
)
def test_the_stack_that_a_command_line_names(words: list[str], stack: str) -> None:
    assert named(tuple(words)) == stack


def test_a_state_belongs_to_its_own_site_or_to_the_first_that_can_keep_it() -> None:
    estate = load("twin")
    stacks = ["twin.qhdc.network", "twin.ndc.signing", "twin.hall.network"]
    assert [homes.own(estate, stack) for stack in stacks] == ["qhdc", "ndc", "qhdc"]


def test_an_estate_that_can_keep_no_state_is_told_what_it_lacks() -> None:
    estate = load("twin")
    bare = replace(estate, inventory=estate.inventory.model_copy(update={"sites": {}}))
    with pytest.raises(UserError, match="found no site with an object store; wanted one for the state of"):
        homes.own(bare, "twin.ndc.signing")


def test_settings_that_a_site_encrypted_are_kept_apart(tmp_path: Path) -> None:
    """Each has its own key: those of another would decrypt nothing."""
    here = Engine(Path("pulumi"), tmp_path, {})
    away = Engine(Path("pulumi"), tmp_path, {}, {"one": Home("ndc", [])})
    assert here.settings("one") == away.settings("two").with_name("Pulumi.one.yaml")
    assert away.settings("one") == tmp_path / "settings" / "ndc" / "Pulumi.one.yaml"


def test_nothing_has_left_the_folder_of_a_new_twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    twin = Twin("new")
    twin.state.mkdir(parents=True)
    assert homes.read(twin) == {}
    homes.write(twin, {"twin.ndc.network": "ndc"})
    assert homes.read(twin) == {"twin.ndc.network": "ndc"}


def test_the_states_of_a_site_are_apart_where_one_of_them_is_elsewhere() -> None:
    stacks = ["twin.ndc.signing", "twin.ndc.cloud", "twin.hall.network", "twin.replica"]
    one_place = dict.fromkeys(stacks, "ndc")
    assert homes.together({}, stacks)
    assert homes.together(one_place, stacks)
    assert homes.together({**one_place, "twin.hall.network": "qhdc"}, stacks)
    assert not homes.together({**one_place, "twin.ndc.cloud": "qhdc"}, stacks)
    assert not homes.together({"twin.ndc.signing": "ndc"}, stacks)
