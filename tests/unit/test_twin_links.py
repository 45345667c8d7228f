"""Which wires a word means, and what a person is told of those that are cut."""

from pathlib import Path

import pytest

from qhs.errors import UserError
from qhs.twin import links
from qhs.twin.names import Twin
from tests.unit.test_twin_redfish import TOPOLOGY


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("a1:data", {"a1:data"}),
        ("dci", {"a1:dci", "b1:dci"}),
        ("north", {"a1:dci"}),
        ("mgmt-n", {"a1:mgmt"}),
    ],
)
def test_a_word_means_a_leg_a_bridge_or_a_sites_way_to_the_others(word: str, meant: set[str]) -> None:
    assert links.legs(TOPOLOGY, word) == meant


@pytest.mark.parametrize("word", ["a1", "a1:moon", "moon", ""])
def test_a_word_that_means_none_is_refused_with_what_there_is(word: str) -> None:
    with pytest.raises(
        UserError, match=r"there is no link(.|\n)*sites north, south; bridges mgmt-n, mgmt-s, data, dci"
    ):
        links.legs(TOPOLOGY, word)


def test_a_site_without_a_link_to_others_is_named() -> None:
    alone = TOPOLOGY.model_copy(update={"between": ()})
    with pytest.raises(UserError, match="site north has no link to another site"):
        links.legs(alone, "north")


def test_a_bridge_is_told_by_its_name_where_all_of_it_is_cut() -> None:
    assert links.told(TOPOLOGY, {"a1:dci", "b1:dci", "a1:mgmt"}) == ["dci", "mgmt-n"]
    assert links.told(TOPOLOGY, {"a1:dci", "b1:mgmt"}) == ["mgmt-s", "a1:dci"]


def test_what_is_cut_is_kept_whole_and_forgotten_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    twin = Twin("unit")
    twin.state.mkdir(parents=True)
    assert links.cuts(twin) == set()
    links.keep(twin, {"b:x", "a:x"})
    assert links.cuts(twin) == {"a:x", "b:x"}
    links.keep(twin, set())
    assert list(twin.state.iterdir()) == []
