"""Snapshots of three genuine members, and what those who watch a store see of one that is given back."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from qhs_etcd_snapshots import KEPT

from qhs.cloud import machines
from qhs.cloud.store import SERVER, Snapshot, Store
from qhs.errors import UserError
from qhs.progress import silent
from qhs.twin.names import Twin
from tests.kernel.clusters import Member, program
from tests.kernel.test_qhs_etcd import MEMBERS, cluster, networks
from tests.twin.waiting import await_

__all__ = ["cluster", "networks"]

PROGRAM, KEEPS = "usr/local/lib/qhs-etcd-snapshots/qhs_etcd_snapshots.py", "var/lib/qhs-etcd-snapshots"
METRICS = "var/lib/prometheus/node-exporter/qhs_etcd_snapshots.prom"
BUMP = 1_000_000_000
TLS = {f"ETCDCTL_{what}": f"/etc/qhs/tls/{file}" for what, file in
       {"CACERT": "ca.crt", "CERT": "machine.crt", "KEY": "machine.key"}.items()}  # fmt: skip


@pytest.fixture
def members(cluster: dict[str, Member]) -> Iterator[list[Member]]:
    """All of them, with the program, and the store as each test found it."""
    for one in cluster.values():
        program(one.root, "etcd_snapshots", PROGRAM)
        (one.root / KEEPS).mkdir(exist_ok=True)
        (one.root / METRICS).parent.mkdir(parents=True, exist_ok=True)
    yield list(cluster.values())
    for one in cluster.values():
        shutil.rmtree(one.root / KEEPS)


def ran(member: Member, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    env = {**TLS, "ETCDCTL_ENDPOINTS": f"https://{MEMBERS[member.name]}:2381"}
    return subprocess.run(member.within(*words), env=env, input=given, capture_output=True, check=False, timeout=60)


def within(member: Member, *words: str, given: bytes = b"") -> tuple[int, str, str]:
    """Its exit code, and what it said on both streams."""
    done = ran(member, *words, given=given)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def says(member: Member, *verb: str, given: bytes = b"") -> tuple[int, str]:
    code, *said = within(member, "/usr/bin/python3", "-B", f"/{PROGRAM}", *verb, given=given)
    return code, "".join(said)


def etcdctl(member: Member, *words: str) -> Any:
    code, said, why = within(member, "/usr/bin/etcdctl", "--write-out=json", *words)
    assert code == 0, why
    return json.loads(said)


def revision(member: Member) -> int:
    return int(etcdctl(member, "get", "any")["header"]["revision"])


def there(member: Member, key: str) -> bool:
    return bool(etcdctl(member, "get", key).get("count"))


def taken(member: Member) -> str:
    """A snapshot just taken, by its name."""
    assert says(member, "take") == (0, "")
    return str(json.loads(says(member, "newest")[1])["name"])


def test_a_snapshot_is_whole_and_of_its_user_alone(members: list[Member]) -> None:
    one = members[0]
    etcdctl(one, "put", "a", "1")
    name = taken(one)
    found = json.loads(says(one, "newest")[1])
    assert found["revision"] == revision(one)
    assert stat.S_IMODE((one.root / KEEPS / name).stat().st_mode) == 0o600
    assert (one.root / METRICS).read_text() == f"qhs_etcd_snapshot_seconds {found['seconds']}\n"


def test_as_many_as_are_kept_and_nothing_that_was_cut_off(members: list[Member]) -> None:
    one = members[0]
    for number in range(1, KEPT + 2):
        (one.root / KEEPS / f"2026010{number}T000000Z.db").touch()
    (one.root / KEEPS / "new.part").touch()
    name = taken(one)
    wanted = [f"2026010{number}T000000Z.db" for number in range(3, KEPT + 2)]
    assert sorted(path.name for path in (one.root / KEEPS).iterdir()) == [*wanted, name]


def test_where_the_store_gives_none_what_is_kept_stays_and_its_age_is_told(members: list[Member]) -> None:
    one = members[0]
    name = taken(one)
    before = (one.root / METRICS).read_text()
    one.stop()
    try:
        code, said = says(one, "take")
    finally:
        one.start()
    await_(one.serves, 30)
    assert code == 1
    assert said.startswith("/usr/bin/etcdctl endpoint health: ")
    assert [path.name for path in (one.root / KEEPS).glob("*.db")] == [name]
    assert (one.root / METRICS).read_text() == before


def test_one_that_is_held_stays_however_many_come_and_goes_to_another_member_whole(members: list[Member]) -> None:
    one, other = members[:2]
    name = taken(one)
    held = says(one, "hold", name)[1].strip()
    told = json.loads(says(one, "verify", held)[1])
    assert told == json.loads(says(one, "newest")[1]) | {"name": held}
    for number in range(1, KEPT + 2):
        (one.root / KEEPS / f"2099010{number}T000000Z.db").touch()
    assert says(one, "take") == (0, "")
    assert not (one.root / KEEPS / name).exists()
    content = (one.root / KEEPS / held).read_bytes()
    assert says(other, "receive", held, given=content) == (0, "")
    assert json.loads(says(other, "verify", held)[1]) == told
    assert says(other, "receive", "half.db", given=content[:-4096])[0] == 1
    assert not (other.root / KEEPS / "half.db").exists()
    for each in (one, other):
        assert says(each, "release") == (0, "")
        assert not (each.root / KEEPS / held).exists()


@pytest.mark.parametrize("damage", ["a byte", "its end"])
def test_one_that_is_damaged_is_refused_before_anything_is_made_of_it(members: list[Member], damage: str) -> None:
    one = members[0]
    name = taken(one)
    file = one.root / KEEPS / name
    content = bytearray(file.read_bytes())
    if damage == "a byte":
        content[len(content) // 2] ^= 1
    file.write_bytes(content if damage == "a byte" else content[:-4096])
    for verb in (["verify", name], ["prepare", name, str(BUMP)]):
        code, said = says(one, *verb)
        assert code == 1
        assert "found content that its own digest does not fit" in said
    assert says(one, "newest")[0] == 1
    assert sorted(path.name for path in (one.root / one.data).glob("restored*")) == []


def test_what_is_given_back_never_goes_back_for_those_who_watch(members: list[Member]) -> None:
    """What was written after the snapshot is gone, and who watched is told to ask anew for all there is."""
    one, *others = members
    etcdctl(one, "put", "a", "1")
    name = taken(one)
    etcdctl(one, "put", "later", "1")
    last = revision(one)
    for other in others:
        shutil.copy(one.root / KEEPS / name, other.root / KEEPS / name)
    for each in members:
        assert says(each, "prepare", name, str(BUMP)) == (0, "")
        assert each.serves(), "it goes on until all is made"
    replaced(members, "swap")
    assert (there(one, "a"), there(one, "later")) == (True, False)
    assert revision(one) >= last + BUMP - 1
    _, *told = within(one, "/usr/bin/etcdctl", "watch", "--rev", str(last + 1), "later")
    assert "required revision has been compacted" in "".join(told)
    etcdctl(others[0], "put", "after", "1")
    assert all(there(each, "after") for each in members), "they are one cluster"
    replaced(members, "back")
    assert (there(one, "later"), there(one, "after")) == (True, False)


def test_a_snapshot_that_is_given_back_twice_has_no_revision_come_twice(
    members: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the operator's own program; who watched either store before is told to ask anew."""
    monkeypatch.setattr(machines, "run", operated({one.name: one for one in members}))
    one, *others = members
    taken(others[0])
    told = json.loads(says(others[0], "newest")[1])
    snapshot = Snapshot(others[0].name, told["name"], datetime.now(UTC), told["revision"])
    for number in range(2):
        etcdctl(one, "put", f"later-{number}", "1")
        last = revision(one)
        assert one.says("revision") == (0, f"{last}\n")
        Store(Twin("any"), "qhdc", tuple(MEMBERS)).give_back(snapshot, silent)
        assert not there(one, f"later-{number}")
        assert min(map(revision, members)) == max(map(revision, members)) > last
        _, *said = within(one, "/usr/bin/etcdctl", "watch", "--rev", str(last + 1), f"later-{number}")
        assert "required revision has been compacted" in "".join(said)


def operated(members: dict[str, Member]) -> Callable[..., bytes]:
    """As the operator's commands on machines are run; beside the store nothing runs there."""

    def run(_: Twin, machine: str, *words: str, given: bytes = b"") -> bytes:
        one = members[machine]
        match words:
            case ["systemctl", "start" | "stop" as verb, *units]:
                if SERVER in units:
                    {"start": one.start, "stop": one.stop}[verb]()
                return b""
            case ["systemctl", "is-active", _]:
                return b""
        done = ran(one, *words, given=given)
        if done.returncode:
            raise UserError(f"{machine}: {done.stderr.decode()}", "none")
        return done.stdout

    return run


def test_a_restore_that_was_cut_off_keeps_what_was_before_the_first_one(members: list[Member]) -> None:
    one = members[0]
    name = taken(one)
    for other in members[1:]:
        shutil.copy(one.root / KEEPS / name, other.root / KEEPS / name)
    etcdctl(one, "put", "before-all", "1")
    for _ in range(2):
        for each in members:
            assert says(each, "prepare", name, str(BUMP)) == (0, "")
        replaced(members, "swap")
        assert not there(one, "before-all")
    replaced(members, "back")
    assert there(one, "before-all")
    assert says(one, "swap")[0] == 1, "nothing is prepared"
    for each in members:
        assert says(each, "settle") == (0, "")
        assert not (each.root / each.data / "member.before").exists()


def replaced(members: list[Member], verb: str) -> None:
    for each in members:
        each.stop()
    for each in members:
        assert says(each, verb) == (0, "")
    for each in members:
        each.start()
    await_(lambda: all(each.serves() for each in members), 30)
