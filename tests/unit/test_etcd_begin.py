"""A cluster that is begun anew: what a member had before is kept, however often its server fails to serve meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from qhs_etcd import Cluster, begin, begun, join

ROLES = Path(__file__).parents[2] / "roles"
ALONE = Cluster("etcd", "cp1", {"cp1": "10.0.0.1"}, 2381, 2382)


class CutOff(BaseException):
    """The program ends here, as a killed one does."""


class Member:
    """Its data is a file that says what it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = ALONE

    def start(self, made: str) -> str:
        """What its server goes on with; it makes data where there is none, and does not come to serve."""
        join(self.cluster)
        if not self.has("member"):
            self.write(made)
        return self.has("member")

    def write(self, what: str) -> None:
        self.cluster.data.mkdir(parents=True)
        (self.cluster.data / "data").write_text(what)

    def served(self) -> None:
        """As the unit does once its server is ready."""
        self.cluster.begins.unlink()

    def has(self, name: str) -> str:
        path = self.folder / name / "data"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Member:
    monkeypatch.setattr(Cluster, "data", tmp_path / "state/member")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return Member(tmp_path / "state")


def test_what_was_set_aside_stays_while_the_server_is_started_again_and_again(member: Member) -> None:
    member.write("real")
    begin(member.cluster)
    for number in range(3):
        assert member.start(f"begun {number}") == "begun 0", "it has agreed to what it wrote"
    assert (member.has("member.aside"), begun(member.cluster)) == ("real", False)
    member.served()
    assert (member.start(""), member.has("member.aside"), begun(member.cluster)) == ("begun 0", "real", True)


def test_a_begin_after_one_that_failed_begins_anew_and_keeps_what_was_before_the_first(member: Member) -> None:
    member.write("real")
    for number in (1, 2, 3):
        begin(member.cluster)
        assert member.start(f"begun {number}") == f"begun {number}"
    assert (member.has("member.aside"), member.has("member.failed")) == ("real", "begun 2")


def test_a_begin_after_one_that_served_sets_aside_what_came_of_that(member: Member) -> None:
    member.write("old")
    begin(member.cluster)
    member.start("newer")
    member.served()
    begin(member.cluster)
    assert (member.has("member"), member.has("member.aside")) == ("", "newer")


def test_one_that_never_was_a_member_begins(member: Member) -> None:
    begin(member.cluster)
    assert (member.start("begun"), member.folder.stat().st_mode & 0o777) == ("begun", 0o700)


@pytest.mark.parametrize("earlier", [False, True], ids=["the first", "after one that failed"])
def test_wherever_a_begin_is_cut_off_the_next_one_keeps_what_was_before(
    member: Member, monkeypatch: pytest.MonkeyPatch, *, earlier: bool
) -> None:
    for steps in range(3):
        shutil.rmtree(member.folder, ignore_errors=True)
        member.write("real")
        if earlier:
            begin(member.cluster)
            member.start("begun")
        with monkeypatch.context() as patch, pytest.raises(CutOff):
            _cut_off_after(patch, steps)
            begin(member.cluster)
        begin(member.cluster)
        assert (member.start("begun again"), member.has("member.aside")) == ("begun again", "real"), steps


def _cut_off_after(patch: pytest.MonkeyPatch, steps: int) -> None:
    """Of those that change anything."""
    left = iter(range(steps))

    def counted[**P, T](step: Callable[P, T]) -> Callable[P, T]:
        def run(*args: P.args, **named: P.kwargs) -> T:
            if next(left, None) is None:
                raise CutOff
            return step(*args, **named)

        return run

    patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    patch.setattr(Path, "rename", counted(Path.rename))
    patch.setattr(Path, "touch", counted(Path.touch))


@pytest.mark.parametrize("name", ["etcd", "lease"])
def test_each_server_that_serves_has_begun(name: str) -> None:
    unit = (ROLES / name / f"templates/etc/systemd/system/qhs-{name}.service.j2").read_text()
    begins = Cluster(name, "cp1", {}, 2381, 2382).begins
    assert f"ExecStartPost=+/usr/bin/rm -f {begins}\n" in unit
    assert f"ExecStartPre=/usr/local/lib/qhs-etcd/qhs_etcd.py join {name}\n" in unit
