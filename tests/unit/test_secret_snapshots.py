"""Snapshots of secret stores: where each comes to lie, and what is restored from none."""

from __future__ import annotations

from typing import Any

import pytest

from qhs.errors import UserError
from qhs.progress import silent
from qhs.secret_stores import snapshots
from qhs.twin.names import Twin
from stacks.model import load
from stacks.provider.secret.client import StoreError
from stacks.provider.settings import ProviderError
from stacks.provider.storage.client import ObjectsError

ESTATE, TWIN = load("twin"), Twin("any")


class Stores:
    """The secret stores and the object stores of both centres, as far as snapshots go."""

    def __init__(self) -> None:
        self.used = {"qhdc": True, "ndc": True}
        self.sealed: set[str] = set()
        self.kept: dict[tuple[str, str], bytes] = {}
        self.restored: dict[str, bytes] = {}
        self.played: list[str] = []

    def secrets(self, _: Any, site: str) -> Any:
        return Secrets(self, site)

    def objects(self, _: Any, site: str) -> Any:
        return Objects(self, site)


class Secrets:
    def __init__(self, stores: Stores, site: str) -> None:
        self._stores, self._site = stores, site

    def snapshot(self) -> bytes:
        if self._site in self._stores.sealed:
            raise StoreError(f"{self._site} is sealed")
        return self._site.encode()

    def restore(self, snapshot: bytes) -> None:
        self._stores.restored[self._site], self._stores.used[self._site] = snapshot, True

    def read(self, path: str) -> dict[str, Any]:
        assert path == "sys/mounts"
        return {"secret/": {}} if self._stores.used[self._site] else {"sys/": {}}


class Objects:
    def __init__(self, stores: Stores, site: str) -> None:
        self._stores, self._site = stores, site

    def write(self, _: str, name: str, content: bytes) -> None:
        self._stores.kept[self._site, name] = content

    def read(self, _: str, name: str) -> bytes:
        try:
            return self._stores.kept[self._site, name]
        except KeyError:
            raise ObjectsError(f"{self._site} has no {name}") from None


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Stores:
    found = Stores()
    monkeypatch.setattr(snapshots, "store", found.secrets)
    monkeypatch.setattr(snapshots, "objects", found.objects)
    monkeypatch.setattr(snapshots, "settings", lambda *_: None)
    monkeypatch.setattr(snapshots, "within", lambda _, ask: ask())
    monkeypatch.setattr(snapshots.ansible, "play", lambda *given, **_: found.played.append(given[2]))
    return found


def test_each_lies_at_the_other_centre_and_not_at_its_own(stores: Stores) -> None:
    assert snapshots.take(ESTATE, TWIN, silent) == []
    assert stores.kept == {("ndc", "qhdc.snapshot"): b"qhdc", ("qhdc", "ndc.snapshot"): b"ndc"}


def test_a_store_that_gives_none_is_told_and_holds_up_no_other(stores: Stores) -> None:
    stores.sealed = {"qhdc"}
    assert snapshots.take(ESTATE, TWIN, silent) == ["no snapshot of the secret store of qhdc at ndc: qhdc is sealed"]
    assert stores.kept.keys() == {("qhdc", "ndc.snapshot")}


def test_a_new_store_has_what_its_own_snapshot_has(stores: Stores) -> None:
    snapshots.take(ESTATE, TWIN, silent)
    stores.used["ndc"] = False
    snapshots.restore(ESTATE, TWIN, "ndc", silent)
    assert stores.restored == {"ndc": b"ndc"}
    assert stores.played == ["trust.yml", "reopened.yml"], "it is begun before, and every node opens it after"


def test_without_a_snapshot_nothing_is_restored_and_the_way_out_said(stores: Stores) -> None:
    stores.used["ndc"] = False
    with pytest.raises(
        ProviderError, match=r"found no snapshot of its secret store: qhdc has no ndc.snapshot\. Way out"
    ):
        snapshots.restore(ESTATE, TWIN, "ndc", silent)
    assert stores.restored == {}


def test_a_store_in_use_and_a_site_without_one_are_refused(stores: Stores) -> None:
    with pytest.raises(ProviderError, match="found a secret store in use"):
        snapshots.restore(ESTATE, TWIN, "ndc", silent)
    with pytest.raises(UserError, match="found the site hall; wanted one with a secret store: qhdc, ndc"):
        snapshots.restore(ESTATE, TWIN, "hall", silent)
    assert stores.restored == {}
