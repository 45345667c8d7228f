"""What the machine of an object store does with the keys of those who may come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import qhs_objects
import secret_store

SETTINGS = {"way_in": "objects-here", "nodes": ["first", "second"], "identities": "objects"}


class Node:
    """One that answers as the secret store does."""

    kept: dict[str, dict[str, Any]] = {}
    gone: set[str] = set()

    def __init__(self, node: str, way_in: str) -> None:
        assert way_in == "objects-here"
        if node in self.gone:
            raise OSError("it is gone")

    def secret(self, path: str) -> dict[str, Any]:
        return self.kept[path.removeprefix("objects/")]

    def names(self, below: str) -> list[str]:
        assert below == "objects"
        return sorted(self.kept)

    def close(self) -> None:
        """There is no connection."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("FETCHED", "ADMITTED", "SETTINGS"):
        monkeypatch.setattr(qhs_objects, name, tmp_path / name)
    (tmp_path / "SETTINGS").write_text(json.dumps(SETTINGS))
    monkeypatch.setattr(secret_store, "Asking", Node)
    monkeypatch.setattr(Node, "kept", {"one": {"key": "k1", "rights": ["Admin"]}})
    monkeypatch.setattr(Node, "gone", set())
    return tmp_path


def admitted(here: Path) -> dict[str, list[str]]:
    qhs_objects.admit()
    return {one["name"]: one["actions"] for one in json.loads((here / "ADMITTED").read_text())["identities"]}


def test_nobody_comes_in_while_no_key_is_known(here: Path) -> None:
    assert admitted(here) == {}


def test_whoever_has_a_key_comes_in(here: Path) -> None:
    qhs_objects.fetch()
    assert admitted(here) == {"one": ["Admin"]}
    assert (here / "FETCHED").stat().st_mode & 0o777 == 0o600
    Node.kept = {}
    qhs_objects.fetch()
    assert admitted(here) == {}


def test_more_are_let_in_while_the_store_goes_on_and_else_it_has_to_start_anew(here: Path) -> None:
    qhs_objects.fetch()
    assert admitted(here) == {"one": ["Admin"]}
    Node.kept = Node.kept | {"two": {"key": "k2", "rights": ["Read"]}}
    qhs_objects.fetch()
    qhs_objects.more()
    listed = json.loads((here / "ADMITTED").read_text())["identities"]
    assert [one["name"] for one in listed] == ["one", "two"]
    for change in ({"two": {"key": "k3", "rights": ["Read"]}}, {"two": {"key": "k2", "rights": ["Admin"]}}):
        Node.kept = Node.kept | change
        qhs_objects.fetch()
        with pytest.raises(qhs_objects.StaleError, match=r"^two: "):
            qhs_objects.more()
    Node.kept = {"two": {"key": "k2", "rights": ["Read"]}}
    qhs_objects.fetch()
    with pytest.raises(qhs_objects.StaleError, match=r"^one: "):
        qhs_objects.more()
    assert json.loads((here / "ADMITTED").read_text())["identities"] == listed


def test_where_nothing_changed_nothing_is_written(here: Path) -> None:
    qhs_objects.fetch()
    before = (here / "FETCHED").stat().st_mtime_ns, (here / "FETCHED").stat().st_ino
    qhs_objects.fetch()
    assert ((here / "FETCHED").stat().st_mtime_ns, (here / "FETCHED").stat().st_ino) == before


def test_the_next_node_is_asked_and_without_any_all_stays_as_it_was(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Node.gone = {"first"}
    qhs_objects.fetch()
    Node.gone = {"first", "second"}
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it has keys, so it need not wait"))
    with pytest.raises(qhs_objects.AbsentError, match=r"first: it is gone; second: it is gone"):
        qhs_objects.fetch()
    assert admitted(here) == {"one": ["Admin"]}


def test_the_first_keys_are_asked_for_until_they_are_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Node.gone = {"first", "second"}
    monkeypatch.setattr("time.sleep", lambda _: Node.gone.clear())
    qhs_objects.fetch()
    assert admitted(here) == {"one": ["Admin"]}


def test_the_store_is_asked_once_it_has_found_its_disk(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before that it answers, and every answer is an error."""
    found = iter([0, 0, 12])
    monkeypatch.setattr(qhs_objects, "SOCKET", here / "s3.sock")
    monkeypatch.setattr(qhs_objects, "OPEN", here / "open.sock")
    monkeypatch.setattr(qhs_objects, "disks", lambda: next(found))
    (here / "s3.sock").touch()
    qhs_objects.ask_from_now_on()
    assert (here / "open.sock").readlink() == here / "s3.sock"
    assert list(found) == []


def test_a_store_without_a_disk_is_never_asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qhs_objects, "SETTLED", 0)
    monkeypatch.setattr(qhs_objects, "SOCKET", here / "s3.sock")
    monkeypatch.setattr(qhs_objects, "OPEN", here / "open.sock")
    with pytest.raises(qhs_objects.AbsentError, match="no disk"):
        qhs_objects.ask_from_now_on()
    assert not (here / "open.sock").is_symlink()
