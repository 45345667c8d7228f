"""The kind `qhs:secrets:Shared`: made once, alike at every store, and never another in its place."""

from __future__ import annotations

from typing import Any

import pytest

from stacks.provider.secret import shared
from stacks.provider.secret.client import StoreError
from stacks.provider.secret.shared import SharedHandler
from stacks.provider.settings import ProviderError, Settings

PATH = "backups/qhdc"
INPUTS: dict[str, Any] = {
    "path": PATH, "made": "pass", "beside": {"rights": ["Read:a"]}, "stores": ["ndc", "qhdc"],
    "owner": "vpqh-du-lieu", "level": 4, "serves": ["C-BAK-03"],
}  # fmt: skip


class Kept:
    """A secret store that may be away; the genuine one is asked on the twin."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self.away = False

    def secret(self, path: str) -> dict[str, Any] | None:
        if self.away:
            raise StoreError("lets nobody in")
        return self.found.get(path)

    def keep(self, path: str, fields: dict[str, Any]) -> None:
        self.found[path] = fields

    def forget(self, path: str) -> None:
        self.found.pop(path, None)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> dict[str, Kept]:
    made = {"qhdc": Kept(), "ndc": Kept()}
    monkeypatch.setattr(shared, "store", lambda _, site: made[site])
    return made


def test_it_is_made_once_and_alike_and_stays_whatever_is_written_later(stores: dict[str, Kept]) -> None:
    handler = SharedHandler(Settings())
    assert handler.write("urn", INPUTS) == {"gaps": []}
    first = stores["qhdc"].found[PATH]
    assert first == stores["ndc"].found[PATH]
    assert len(first["pass"]) >= 43 and first["rights"] == ["Read:a"]
    handler.write("urn", INPUTS)
    assert stores["ndc"].found[PATH] == first
    assert handler.read(PATH, INPUTS) == (INPUTS, {"writer": "urn", "gaps": []})
    assert "pass" not in str(handler.read(PATH, INPUTS)).replace("'made': 'pass'", "")


def test_a_store_that_is_away_is_a_gap_and_gets_the_same_later(stores: dict[str, Kept]) -> None:
    handler = SharedHandler(Settings())
    handler.write("urn", INPUTS)
    first = stores["qhdc"].found[PATH]
    stores["ndc"].found.clear()
    assert handler.read(PATH, INPUTS) == (INPUTS, {"writer": "urn", "gaps": ["ndc: has none"]})
    stores["ndc"].away = True
    assert handler.write("urn", INPUTS) == {"gaps": ["ndc: lets nobody in"]}
    stores["ndc"].away = False
    assert handler.write("urn", INPUTS) == {"gaps": []}
    assert stores["ndc"].found[PATH] == first


def test_none_is_made_while_one_may_be_where_nobody_answers(stores: dict[str, Kept]) -> None:
    stores["ndc"].away = True
    with pytest.raises(ProviderError, match="one may be where nobody answers: lets nobody in"):
        SharedHandler(Settings()).write("urn", INPUTS)
    assert stores["qhdc"].found == {}


def test_of_two_none_is_taken_for_the_right_one(stores: dict[str, Kept]) -> None:
    handler = SharedHandler(Settings())
    handler.write("urn", INPUTS)
    stores["ndc"].found[PATH] = {**stores["ndc"].found[PATH], "pass": "another"}
    read = handler.read(PATH, INPUTS)
    assert read and read[1]["gaps"] == ["qhdc: has another"]
    with pytest.raises(ProviderError, match="found different ones"):
        handler.write("urn", INPUTS)


def test_it_goes_by_approval_alone(stores: dict[str, Kept], monkeypatch: pytest.MonkeyPatch) -> None:
    handler = SharedHandler(Settings())
    handler.write("urn", INPUTS)
    handler.remove("another's", INPUTS)
    asked: list[str] = []
    monkeypatch.setattr(handler, "require_approval", lambda urn, why: asked.append(urn))
    handler.remove("urn", INPUTS)
    assert asked == ["urn"]
    assert stores["qhdc"].found == stores["ndc"].found == {}
