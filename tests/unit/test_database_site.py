"""What a site's databases are told to be, by which site is chosen."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import qhs_database
import qhs_database_site
from qhs_database_site import DONE, NOT_YET
from qhs_etcd import AbsentError

SITES = {"qhdc": ["10.16.0.11", "10.16.0.12"], "ndc": ["10.20.0.11"]}
COPIES = {
    "standby_cluster": {
        "host": "10.20.0.11",
        "port": 5432,
        "primary_slot_name": "site_qhdc",
        "create_replica_methods": ["other_site"],
    }
}
WRITES = {"slots": {"site_ndc": {"type": "physical"}}}


class Store:
    """What the members of the site agree on, and nothing else."""

    def __init__(self, **found: Any) -> None:
        self.found = {key.replace("__", "/"): json.dumps(value) for key, value in found.items()}
        self.refuses = False

    def read(self, key: str) -> tuple[str, str]:
        return self.found.get(key, "").strip('"'), "7"

    def write(self, key: str, value: str, revision: str) -> bool:
        assert revision == "7"
        if not self.refuses:
            self.found[key] = value
        return not self.refuses

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.found["config"])
        return found


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """One of two at its site, without data; Patroni is told nothing."""
    settings = tmp_path / "member.json"
    settings.write_text(json.dumps({"name": "db1", "site": "qhdc", "sites": SITES, "chosen": ["/bin/false"]}))
    (tmp_path / "begin.json").write_text(json.dumps({"bootstrap": {"dcs": {"ttl": 20}}}))
    (tmp_path / "config").mkdir()
    for module in (qhs_database, qhs_database_site):
        monkeypatch.setattr(module, "SETTINGS", settings)
    monkeypatch.setattr(qhs_database_site, "RUNTIME", tmp_path)
    monkeypatch.setattr(qhs_database_site, "BEGIN", tmp_path / "begin")
    monkeypatch.setattr(qhs_database_site, "DATA", tmp_path / "main/PG_VERSION")
    monkeypatch.setattr(qhs_database_site, "tell", lambda _: None)
    monkeypatch.setattr(qhs_database_site, "WAITS", 0)
    return tmp_path


def test_where_another_site_is_chosen_they_are_copies_of_it_and_keep_the_rest() -> None:
    store = Store(config={"ttl": 20, **WRITES})
    assert qhs_database_site.follow("ndc", "", store) == DONE
    assert store.config == {"ttl": 20, **COPIES}
    assert qhs_database_site.follow("ndc", "", store) == DONE


def test_nobody_who_takes_writes_is_told_that_it_is_a_copy() -> None:
    store = Store(config=WRITES, leader="db2", members__db2={"role": "primary"})
    assert qhs_database_site.follow("ndc", "", store) == NOT_YET
    assert store.config == WRITES
    store.found["leader"] = "db1"
    assert qhs_database_site.follow("ndc", "", store) == DONE, "the own server has ended before"


@pytest.mark.parametrize(
    ("says", "end", "code"),
    [
        ({"role": "standby_leader", "xlog": {"replayed_location": 0x30}}, "", DONE),
        ({"role": "standby_leader", "xlog": {"replayed_location": 0x31}}, "0/30", DONE),
        ({"role": "standby_leader", "xlog": {"replayed_location": 0x30}}, "0/30", NOT_YET),
        ({"role": "standby_leader", "xlog": {}}, "0/30", NOT_YET),
        ({"role": "replica", "xlog": {"replayed_location": 0x31}}, "0/30", NOT_YET),
    ],
)
def test_the_own_site_takes_writes_once_all_of_the_log_is_here(
    monkeypatch: pytest.MonkeyPatch, says: dict[str, Any], end: str, code: int
) -> None:
    monkeypatch.setattr(qhs_database_site, "status", lambda: says)
    store = Store(config={"ttl": 20, **COPIES})
    assert qhs_database_site.follow("qhdc", end, store) == code
    assert store.config == {"ttl": 20, **(WRITES if code == DONE else COPIES)}


def test_what_has_not_begun_or_was_written_meanwhile_is_tried_again() -> None:
    assert qhs_database_site.follow("ndc", "", Store()) == NOT_YET
    store = Store(config={"ttl": 20})
    store.refuses = True
    assert qhs_database_site.follow("ndc", "", store) == NOT_YET
    with pytest.raises(AbsentError, match="hall is chosen: found no databases there; wanted one of qhdc, ndc"):
        qhs_database_site.follow("hall", "", store)


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("site", ["qhdc", "ndc"])
def test_before_it_starts_a_server_is_a_copy_where_another_site_is_chosen(
    machine: Path, monkeypatch: pytest.MonkeyPatch, site: str, *, begins: bool
) -> None:
    (machine / "main").mkdir()
    (machine / "main/PG_VERSION").touch()
    if begins:
        (machine / "begin").touch()
    store = Store(config={"ttl": 20})
    monkeypatch.setattr(qhs_database_site, "chosen", lambda: site)
    monkeypatch.setattr(qhs_database_site, "Agreed", lambda: store)
    qhs_database_site.prepare()
    assert (machine / "main/standby.signal").exists() is (site == "ndc")
    begin = machine / "config/begin.yml"
    assert begin.exists() is (begins or site == "ndc"), "copies may begin by themselves, whatever was lost"
    if begin.exists():
        assert json.loads(begin.read_text())["bootstrap"]["dcs"] == {
            "ttl": 20,
            **(WRITES if site == "qhdc" else COPIES),
        }
    assert ("standby_cluster" in store.config) is (site == "ndc")


def test_where_nobody_says_which_site_is_chosen_a_server_is_a_copy_and_nothing_begins(machine: Path) -> None:
    (machine / "main").mkdir()
    (machine / "main/PG_VERSION").touch()
    qhs_database_site.prepare()
    assert (machine / "main/standby.signal").exists()
    (machine / "begin").touch()
    with pytest.raises(AbsentError, match="nobody says which site is to take writes"):
        qhs_database_site.prepare()


def test_databases_that_begin_wait_until_somebody_says_which_site_is_chosen(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter(("", "", "qhdc"))

    def chosen() -> str:
        if found := next(said):
            return found
        raise AbsentError

    (machine / "begin").touch()
    monkeypatch.setattr(qhs_database_site, "chosen", chosen)
    monkeypatch.setattr(qhs_database_site, "WAITS", 60)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    qhs_database_site.prepare()
    assert (machine / "config/begin.yml").exists()
