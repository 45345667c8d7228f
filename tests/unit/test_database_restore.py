"""Which point a restore for trial is of, from where, and what it makes of what the copy and the databases hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qhs_backup
import qhs_backup_restore
from qhs_backup import FailedError
from qhs_backup_compare import BELOW, BLUR, Comparing, HeldError, Server, ServerError, strangers
from qhs_backup_restore import AFTER, chosen, own_config, told

STORES = [{"number": 1, "site": "qhdc", "name": "a"}, {"number": 2, "site": "ndc", "name": "b"}]
SETTINGS = {"bucket": "backups-qhdc", "stores": STORES, "days": 28, "queue_mib": 256}
WITHIN = {"earliest": 1_000.0, "latest": 2_000.0, "store": STORES[0]}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (qhs_backup, qhs_backup_restore):
        monkeypatch.setattr(module, "STATE", tmp_path)
        monkeypatch.setattr(module, "RESTORED", tmp_path / "restored.json")
        monkeypatch.setattr(module, "CONFIG", tmp_path / "pgbackrest.conf")
        monkeypatch.setattr(module, "settings", lambda: SETTINGS)
    return tmp_path


def test_a_point_at_random_is_within_what_copies_can_give_back() -> None:
    points = {chosen("random", WITHIN) for _ in range(200)}
    assert len(points) > 190
    assert 1_000 <= min(points) < 1_100 and 1_900 < max(points) <= 2_000


@pytest.mark.parametrize(("at", "good"), [(999.9, False), (1_000.0, True), (1_999.5, True), (2_000.1, False)])
def test_a_point_that_is_asked_for_is_refused_where_no_copy_has_it(at: float, good: bool) -> None:
    if good:
        assert chosen(told(at), WITHIN) == at
        return
    with pytest.raises(FailedError, match=f"wanted one from {told(1_000)} to {told(2_000)}"):
        chosen(told(at), WITHIN)


def test_before_any_point_comes_after_the_first_copy_there_is_none() -> None:
    with pytest.raises(FailedError, match="qhdc: its first copy has just ended"):
        chosen("random", WITHIN | {"latest": 1_000.0})


def copy(stop: int, timeline: int) -> dict[str, Any]:
    return {"timestamp": {"stop": stop}, "archive": {"start": f"{timeline:08X}0000000000000018"}}


@pytest.mark.parametrize(("first_mark", "earliest"), [(10.0, 500 + AFTER), (600.0, 600 + BLUR)])
def test_points_begin_after_the_first_copy_since_writes_came_here_and_after_the_first_mark(
    first_mark: float, earliest: float, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / "pgbackrest.conf").write_text("repo2-type=s3\n")
    monkeypatch.setattr(qhs_backup, "copies", lambda _: [copy(900, 7), copy(500, 7), copy(100, 6)])
    monkeypatch.setattr(qhs_backup, "mark", lambda: 2_000.0)
    monkeypatch.setattr(qhs_backup_restore, "get_away", lambda: None)
    monkeypatch.setattr(qhs_backup_restore, "sql", lambda *_: str(first_mark))
    found = qhs_backup_restore.span(7)
    assert (found["earliest"], found["latest"], found["store"]["site"]) == (earliest, 2_000.0, "ndc")
    with pytest.raises(FailedError, match="ndc: there is no copy since writes came here"):
        qhs_backup_restore.span(8)


def test_stores_take_turns_and_one_that_is_away_has_none(state: Path) -> None:
    (state / "pgbackrest.conf").write_text("repo1-type=s3\nrepo2-type=s3\n")
    qhs_backup.show(STORES[0], 7, 300)
    qhs_backup.show(STORES[1], 7, 200)
    assert qhs_backup_restore.next_store(7)["site"] == "ndc"
    qhs_backup.show(STORES[1], 7, 400)
    assert qhs_backup_restore.next_store(7)["site"] == "qhdc"
    (state / "pgbackrest.conf").write_text("repo2-type=s3\n")
    assert qhs_backup_restore.next_store(7)["site"] == "ndc"
    (state / "pgbackrest.conf").write_text("")
    with pytest.raises(FailedError, match="no object store has answered lately"):
        qhs_backup_restore.next_store(7)


def test_it_is_read_from_one_store_and_shares_no_lock_log_or_data_with_what_makes_copies() -> None:
    lines = own_config(qhs_backup.config(SETTINGS, STORES, 77, "the pass", "the key"), 2).splitlines()
    assert not any(line.startswith("repo1-") for line in lines)
    assert {"repo2-cipher-pass=the pass", "repo2-path=/77"} <= {*lines}
    where = {name: value for name, _, value in (line.partition("=") for line in lines) if "path" in name}
    assert where["pg1-path"] == "/var/lib/qhs-backup/restore/data"
    assert where["lock-path"] == "/var/lib/qhs-backup/restore/lock"
    assert not any(name.startswith(("spool-path", "pg1-socket", "archive-")) for name in where)
    assert lines.index("[global]") < lines.index("repo2-path=/77") < lines.index("[main]")


def test_too_little_room_is_refused_before_anything_is_fetched(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Room", (), {"free": 355 << 20}))
    qhs_backup_restore.room(99)
    with pytest.raises(FailedError, match="found 355 MiB of room; wanted 100 for what is restored"):
        qhs_backup_restore.room(100)


def metrics(timeline: int) -> dict[str, float]:
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in qhs_backup.rehearsed(timeline))}


def test_metrics_say_since_when_no_copy_is_shown_to_come_back_and_whether_the_last_one_did(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 5_000.0)
    assert metrics(7) == {"qhs_backup_restored_seconds": 5_000}
    monkeypatch.setattr("time.time", lambda: 6_000.0)
    assert metrics(7) == {"qhs_backup_restored_seconds": 5_000}, "nothing was restored since"
    qhs_backup.show(STORES[1], 7, 5_900)
    last = {"timeline": 7, "faults": ["lost"], "seconds": {"fetch": 1.5}}
    (state / "restored.json").write_text(json.dumps(last))
    took = 'qhs_backup_restore_took_seconds{part="fetch"}'
    assert metrics(7) == {"qhs_backup_restored_seconds": 5_900, "qhs_backup_restore_failed": 1, took: 1.5}
    with qhs_backup.alone():
        assert metrics(7)["qhs_backup_restore_failed"] == 0, "one that runs has not failed yet"
    assert metrics(8) == {"qhs_backup_restored_seconds": 6_000}, "nothing of before writes came here counts"


AT = 1_000.0


class Held(Server):
    """A server that holds what it is told."""

    def __init__(self, old: dict[str, list[int]], marks: list[float], new: dict[str, list[int]] | None = None) -> None:
        super().__init__(Path("held"))
        self.__dict__.update(old=old, new=new or {}, kept=marks, made={}, held=set())

    def rows(self, database: str, question: str) -> Iterator[list[str]]:
        hold: dict[str, Any] = self.__dict__
        if question == BELOW:
            yield ["77"]
        elif "qhs_backup.marks" in question:
            yield from ([str(one)] for one in hold["kept"])
        elif "pg_database" in question:
            yield from (["laws", "t"],)
        elif "pg_class" in question:
            for name in hold["old"] | hold["new"]:
                yield [name, hold["made"].get(name, "n int"), "t" if name in hold["old"] else "f"]
        else:
            name = question.split(" from ")[1].split(maxsplit=1)[0]
            if name in hold["held"]:
                raise HeldError(name)
            found = sorted(hold["old"].get(name, []) + (hold["new"].get(name, []) if "true" in question else []))
            yield from ([str(one)] for one in found) if "order by" in question else [[str(len(found)), str(sum(found))]]


def compare(copy: Held, live: Held) -> dict[str, Any]:
    return Comparing(copy, live, AT).all(55).told()


def test_what_is_the_same_or_has_grown_is_the_same() -> None:
    found = compare(Held({"a": [1, 2], "b": []}, [900.0]), Held({"a": [1, 2], "b": []}, [900.0, 1_001.0], {"c": [9]}))
    assert found == {
        "databases": 1, "tables": 2, "rows": 2, "same": 2, "changed": 0, "held": 0, "marks": 1, "newest": 900.0,
        "faults": [],
    }  # fmt: skip


FAULTS: dict[str, tuple[Held, Held, str]] = {
    "row": (Held({"a": [1, 2]}, [900.0]), Held({"a": [1, 2, 3]}, [900.0]), "laws: a: 1 rows from before the point"),
    "other": (Held({"a": [1, 2]}, [900.0]), Held({"a": [1, 3]}, [900.0]), "laws: a: 1 rows from before the point"),
    "table": (Held({}, [900.0]), Held({"a": [1]}, [900.0]), "laws: the table is not there: a"),
    "mark": (Held({}, [900.0]), Held({}, [900.0, 990.0]), "1 marks of before the point are not there, from 990.0 on"),
    "later": (Held({}, [900.0, 1_000.5]), Held({}, [900.0]), "1 marks of after the point are there, until 1000.5"),
    "none": (Held({}, []), Held({}, []), "there is no mark"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_there_before_the_point_and_is_not_in_the_copy_is_a_fault(fault: str) -> None:
    copy, live, said = FAULTS[fault]
    (found,) = compare(copy, live)["faults"]
    assert found.startswith(said)


def test_rows_that_are_gone_since_and_tables_that_are_made_otherwise_are_counted() -> None:
    live = Held({"a": [2], "b": [8]}, [900.0])
    live.made["b"] = "n bigint"
    found = compare(Held({"a": [1, 2], "b": [7], "c": [5]}, [900.0]), live)
    assert (found["faults"], found["changed"], found["same"]) == ([], 3, 0)


def test_a_table_that_somebody_is_changing_is_counted_and_the_others_are_compared() -> None:
    copy = Held({"a": [1], "b": [2]}, [900.0])
    copy.held.add("a")
    found = compare(copy, Held({"a": [1], "b": [2]}, [900.0]))
    assert (found["faults"], found["held"], found["same"], found["tables"]) == ([], 1, 1, 2)


def test_a_mark_that_was_written_as_the_point_came_may_be_in_or_not() -> None:
    for marks in ([900.0], [900.0, AT - BLUR]):
        assert compare(Held({}, marks), Held({}, [900.0, AT - BLUR]))["faults"] == []


@pytest.mark.parametrize(
    ("wanted", "there", "missing"),
    [([], [1], 0), ([1], [], 1), ([1, 1], [1], 1), ([1, 3], [0, 1, 2, 3, 4], 0), ([2, 5], [1, 3, 5], 1)],
)
def test_rows_are_looked_for_as_often_as_they_are(wanted: list[int], there: list[int], missing: int) -> None:
    assert strangers(iter(wanted), iter(there)) == missing


def test_a_server_that_does_not_answer_is_no_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    psql = tmp_path / "psql"
    psql.write_text("#!/bin/sh\necho 'FATAL: it starts up'\nexit 2\n")
    psql.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ServerError, match="laws: psql ended with 2: FATAL: it starts up"):
        [*Server(tmp_path).rows("laws", "select 1")]
    psql.write_text("#!/bin/sh\necho 'ERROR:  canceling statement due to lock timeout'\nexit 1\n")
    with pytest.raises(HeldError):
        [*Server(tmp_path).rows("laws", "select 1")]
