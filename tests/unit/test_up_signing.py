"""In which order `qhs up` applies the signing stacks: who makes keys first, all at once where nothing is new."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from qhs import up
from qhs.progress import silent
from qhs.twin.names import Twin
from qhs.up import Way
from stacks.model import Estate

FOUNDER, OTHER = "twin.qhdc.signing", "twin.ndc.signing"


@pytest.mark.parametrize(
    ("ways", "certified", "answered", "order"),
    [
        (
            {FOUNDER: Way.LOOK, OTHER: Way.LOOK},
            ["qlvb"],
            [FOUNDER, OTHER],
            [
                {FOUNDER: Way.LOOK},
                {FOUNDER: Way.BELIEVE, OTHER: Way.LOOK},
                {FOUNDER: Way.BELIEVE, OTHER: Way.BELIEVE},
            ],
        ),
        ({FOUNDER: Way.LOOK, OTHER: Way.LOOK}, [], [], [{FOUNDER: Way.LOOK}, {OTHER: Way.LOOK}]),
        ({FOUNDER: Way.EXPECT, OTHER: Way.EXPECT}, [], [], [{FOUNDER: Way.EXPECT, OTHER: Way.EXPECT}]),
        ({OTHER: Way.LOOK}, [], [], [{OTHER: Way.LOOK}]),
        ({}, [], [], []),
    ],
    ids=["from nothing", "certified before", "nothing new", "the other alone", "none"],
)
def test_the_site_that_makes_keys_comes_before_those_that_get_them(
    estate: Estate,
    monkeypatch: pytest.MonkeyPatch,
    *,
    ways: dict[str, Way],
    certified: list[str],
    answered: list[str],
    order: list[dict[str, Way]],
) -> None:
    applied: list[dict[str, Way]] = []

    def side_by_side(*arguments: Any) -> None:
        given: Mapping[str, Way] = arguments[-1]
        applied.append(dict(given))

    monkeypatch.setattr(up.homes, "engine", lambda *_: None)
    monkeypatch.setattr(up.trust_access, "write", lambda *_: Path("unused"))
    monkeypatch.setattr(up, "certify", lambda *_: certified)
    monkeypatch.setattr(up, "certify_authorities", lambda *_: answered)
    monkeypatch.setattr(up, "_side_by_side", side_by_side)
    granted: list[list[dict[str, Way]]] = []
    monkeypatch.setattr(up.rights, "renew", lambda *_: granted.append([*applied]) or [])
    up._sign(up.Report("twin"), estate, Twin("one"), silent, ways)
    assert applied == order
    assert granted == ([[]] if Way.LOOK in ways.values() else []), "before the first of what is new, and only then"


def test_stacks_are_told_apart_by_their_layer() -> None:
    ways = {FOUNDER: Way.LOOK, "twin.hall.network": Way.EXPECT, "twin.ndc.network": Way.BELIEVE}
    assert up.of_layer(ways, "signing") == {FOUNDER: Way.LOOK}
    assert up.of_layer(ways, "network") == {"twin.hall.network": Way.EXPECT, "twin.ndc.network": Way.BELIEVE}
