"""Whose store a site follows, from when on, how far behind it is, and in what stores differ."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import qhs_object_sync as it
from qhs_object_sync import DRAINS, EARLIER, FORGETS, Follower, Turn

from qhs.inventory import inventory
from qhs.objects import alike, cli
from qhs.objects.alike import ABSENT, Behind
from stacks.model import Estate, backups, object_sync
from stacks.model.objects import RESERVED, buckets
from stacks.provider.storage.client import Version

T = 1_000_000.0


@dataclass
class Program:
    """What follows a site, as if."""

    site: str
    start: int
    alive: bool = True

    def runs(self) -> bool:
        return self.alive

    def end(self) -> None:
        self.alive = False


@dataclass
class Here:
    """A site between others, at a time."""

    begun: list[Program] = field(default_factory=list)
    came: float = 0

    def follower(self, site: str = "ndc") -> Follower:
        return Follower(site, {"qhdc"}, self.begin, lambda _: self.came)

    def begin(self, site: str, start: int) -> Program:
        self.begun.append(Program(site, start))
        return self.begun[-1]

    def running(self) -> list[str]:
        return [one.site for one in self.begun if one.alive]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    for name in ("TURN", "STATUS", "LEASE", "SETTINGS", "METRICS"):
        monkeypatch.setattr(it, name, tmp_path / name)
    return Here()


def looks(follower: Follower, *steps: tuple[str, float]) -> None:
    for holder, now in steps:
        follower.look(holder, T + now)


def test_it_follows_who_has_the_lease_from_the_beginning_and_goes_on_while_nobody_says(here: Here) -> None:
    one = here.follower()
    looks(one, ("", 0))
    assert here.begun == []
    looks(one, ("qhdc", 1), ("qhdc", 2), ("", 500))
    assert [(program.site, program.start) for program in here.begun] == [("qhdc", 0)]
    assert here.running() == ["qhdc"]


def test_one_that_ended_is_begun_anew(here: Here) -> None:
    one = here.follower()
    looks(one, ("qhdc", 1))
    here.begun[0].alive = False
    looks(one, ("qhdc", 2), ("qhdc", 3))
    assert here.running() == ["qhdc"] and len(here.begun) == 2


def test_once_the_own_site_has_it_only_what_was_taken_last_still_comes(here: Here) -> None:
    one = here.follower()
    looks(one, ("qhdc", 0), ("ndc", 10), ("ndc", 10 + DRAINS - 1))
    assert here.running() == ["qhdc"]
    looks(one, ("ndc", 10 + DRAINS))
    assert here.running() == []
    looks(one, ("ndc", 11 + DRAINS), ("", 12 + DRAINS))
    assert len(here.begun) == 1


def test_a_site_that_had_it_follows_no_change_of_before_it_lost_it(here: Here) -> None:
    one = here.follower("ndc")
    looks(one, ("ndc", 0), ("ndc", 100), ("", 140), ("qhdc", 150))
    looks(one, ("qhdc", 151))
    (program,) = here.begun
    assert program.start == int((T + 100 - EARLIER) * 1000)


def test_it_begins_there_again_until_something_of_later_has_come_and_a_restart_changes_nothing(here: Here) -> None:
    looks(here.follower(), ("ndc", 0), ("qhdc", 100))
    looks(here.follower(), ("qhdc", 101))
    start = int((T - EARLIER) * 1000)
    assert [one.start for one in here.begun] == [start, start]
    here.came = T - EARLIER - 1
    again = here.follower()
    looks(again, ("qhdc", 102), ("qhdc", 103))
    here.came = T + 104
    looks(again, ("qhdc", 105))
    looks(here.follower(), ("qhdc", 106))
    assert [one.start for one in here.begun] == [start, start, start, 0]


def test_half_a_note_is_none(here: Here) -> None:
    it.TURN.write_text('{"holder": "qhd')
    assert here.follower().turn == Turn()


def test_how_far_behind_it_is_counts_from_what_came_last_or_since_it_follows(here: Here) -> None:
    one = here.follower()
    looks(one, ("qhdc", 0))
    assert one.status(T + 7)["lag"] == 7
    here.came = T + 90
    assert one.status(T + 93.5)["lag"] == 3.5
    looks(one, ("ndc", 95))
    assert one.status(T + 96)["lag"] is None


def test_what_is_reported_grows_while_the_follower_is_gone(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    it.SETTINGS.write_text(json.dumps({"may": 60}))
    it.STATUS.write_text(json.dumps({"holder": "qhdc", "lag": 3.0, "at": T}))
    monkeypatch.setattr("time.time", lambda: T + 100)
    it.report()
    said = it.METRICS.read_text().splitlines()
    assert said == ['qhs_object_sync_lag_seconds{source="qhdc"} 103.0', 'qhs_object_sync_may_seconds{source="qhdc"} 60']
    it.STATUS.write_text(json.dumps({"holder": "ndc", "lag": None, "at": T}))
    it.report()
    assert it.METRICS.read_text() == ""


def test_it_works_where_the_own_store_took_the_time_of_late(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: T)
    assert it.check() == "it has not begun yet"
    for at, wrong, said in ((T, "", ""), (T, "refused", "refused"), (T - 60, "", "it has said nothing for 60 s")):
        it.STATUS.write_text(json.dumps({"at": at, "wrong": wrong}))
        assert it.check() == said
    monkeypatch.setattr(it, "FILER", 1)
    assert it.beat("ndc", T).startswith("the own store does not take the time: ")
    assert it.newest("ndc") == 0


def test_what_was_learnt_of_the_lease_long_ago_says_nothing(here: Here) -> None:
    assert it.known(T) == ""
    it.LEASE.write_text(json.dumps({"holder": "qhdc", "at": T}))
    assert it.known(T + FORGETS - 1) == "qhdc"
    assert it.known(T + FORGETS) == ""


def test_the_next_machine_is_asked_and_stays_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def active(address: str) -> str:
        if address == "gone":
            raise OSError("no route")
        return "qhdc"

    monkeypatch.setattr(it, "active", active)
    doors = ["gone", "there"]
    assert it._asked(doors)[0] == "qhdc"
    assert doors == ["there", "gone"]
    assert it._asked(["gone"]) == ("", "gone: no route")


def test_each_store_knows_the_other_and_which_buckets_are_applications(estate: Estate) -> None:
    told = inventory(estate)["_meta"]["hostvars"]
    for site, other in (("qhdc", "ndc"), ("ndc", "qhdc")):
        one = told[f"{site}-storage1"]
        (peer,) = one["object_sync_peers"]
        assert (peer["site"], peer["name"], peer["authority"]) == (
            other,
            f"{other}-storage1",
            f"QHS machines of {other}",
        )
        assert [peer["address"]] == told[peer["name"]]["object_sync_addresses"][:1]
        assert len(one["object_sync_doors"]) == 3
        assert set(one["object_sync_archives"]) < set(one["object_sync_buckets"])
    assert "object_sync_peers" not in told["qhdc-db1"]


def test_no_bucket_of_the_estate_itself_is_an_applications(estate: Estate) -> None:
    own, theirs = set(object_sync.own(estate)), {one.name for one in buckets(estate)}
    assert own == {"pulumi-states", "pulumi-copies", "secret-snapshots", "backups-qhdc", "backups-ndc"}
    assert own <= RESERVED | {one.bucket for one in backups.clusters(estate).values()}
    assert not own & theirs and theirs


def test_a_copy_may_be_as_far_behind_as_the_strictest_wants_but_not_less_than_can_be(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiers, tenants = estate.catalogue.tiers, estate.catalogue.tenants
    strictest = min(tiers[tenants[one.tenant].tier].rpo_minutes for one in buckets(estate))
    assert object_sync.may_seconds(estate) == max(object_sync.LEAST, strictest * 60)
    monkeypatch.setattr(object_sync, "LEAST", 0)
    assert object_sync.may_seconds(estate) == strictest * 60


def version(key: str, name: str, etag: str = "e", latest: bool = True) -> Version:
    return Version(key, name, etag, latest)


def test_stores_differ_by_a_version_its_content_which_is_current_or_a_whole_bucket() -> None:
    both = version("same", "1")
    old, current = version("moved", "2", latest=False), version("moved", "2")
    found = alike.differences(
        {
            "qhdc": {"mail": {both, old, version("orphan", "3"), version("content", "4", "a")}, "only": set()},
            "ndc": {"mail": {both, current, version("content", "4", "b")}, "only": None},
        }
    )
    assert [(one.bucket, one.key, one.found) for one in found] == [
        ("mail", "content", {"qhdc": "current a", "ndc": "current b"}),
        ("mail", "moved", {"qhdc": "older e", "ndc": "current e"}),
        ("mail", "orphan", {"qhdc": "current e", "ndc": ABSENT}),
        ("only", "", {"qhdc": "current", "ndc": ABSENT}),
    ]
    assert alike.differences({"qhdc": {"none": None}, "ndc": {"none": None}}) == []


LEADS, FOLLOWS = Behind(site="qhdc", holder="qhdc"), Behind(site="ndc", holder="qhdc", follows="qhdc", lag=2.5)


@pytest.mark.parametrize(
    ("behind", "differ", "code", "says"),
    [
        ([LEADS, FOLLOWS], [], 0, "qhdc has the lease; ndc is 2.5 s behind qhdc (at most 60); they hold the same"),
        ([LEADS, FOLLOWS.model_copy(update={"lag": 61})], [], 2, "61"),
        (
            [LEADS, FOLLOWS],
            [alike.Difference(bucket="b", found={"qhdc": ABSENT, "ndc": "older"})],
            2,
            "1 versions differ",
        ),
        ([LEADS, Behind(site="ndc", missing="no route")], None, 3, "ndc does not say: no route; nobody can say"),
        ([LEADS, Behind(site="ndc")], [], 3, "ndc does not know who has the lease; they hold the same"),
    ],
)
def test_the_answers_come_to_one(
    behind: list[Behind], differ: list[alike.Difference] | None, code: int, says: str
) -> None:
    report = cli.judged("twin", behind, 60, differ)
    assert report.code == code
    assert says in cli.line(report)
    assert cli.table(report).row_count == len(differ or ())
