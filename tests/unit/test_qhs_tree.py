"""The module that writes a role's files tells beforehand what it will change, and of a secret nothing but its path; a
look afterwards finds what is not as it was left.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import qhs_tree
from ansible.module_utils.testing import patch_module_args

from scripts.playbooks.plugins.modules import qhs_tree_write

type Answer = dict[str, Any]
type Tree = Callable[..., Answer]
type Look = Callable[[], list[str]]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tree:
    """Run the module; what it answers."""
    for module in (qhs_tree_write, qhs_tree):
        monkeypatch.setattr(module, "DUE", tmp_path / "due")
    monkeypatch.setattr(qhs_tree, "RECORDS", tmp_path / "records")
    own = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name, "mode": "0640"}

    def run(
        *files: dict[str, str],
        check: bool = False,
        acted: bool = False,
        holds: Sequence[dict[str, str]] = (),
        described: str = "digest",
        replaces: Sequence[str] = (),
    ) -> Answer:
        owned = {"files": [own | one for one in files], "units": [], "holds": list(holds), "described": described}
        owned["replaces"] = list(replaces)
        role = {"acted": True} if acted else owned
        with (
            patch_module_args({"role": "x", **role, "_ansible_check_mode": check, "_ansible_diff": True}),
            pytest.raises(SystemExit),
        ):
            qhs_tree_write.main()
        answer: Answer = json.loads(capsys.readouterr().out)
        return answer

    return run


@pytest.fixture
def look(tree: Tree, capsys: pytest.CaptureFixture[str]) -> Look:
    """What a look at the role that `tree` writes finds."""

    def run() -> list[str]:
        qhs_tree.main("digest", "x")
        return capsys.readouterr().out.splitlines()

    return run


def test_check_mode_names_what_a_run_then_writes_and_touches_nothing(tree: Tree, tmp_path: Path) -> None:
    new, drifted, whole = (
        {"path": str(tmp_path / name), "content": f"{name}\n"} for name in ("new", "drifted", "whole")
    )
    tree(drifted, whole)
    tree(acted=True)
    Path(drifted["path"]).chmod(0o600)
    before = sorted(tmp_path.rglob("*"))
    told = tree(new, drifted, whole, check=True)
    assert sorted(tmp_path.rglob("*")) == before
    assert Path(drifted["path"]).stat().st_mode & 0o777 == 0o600
    done = tree(new, drifted, whole)
    assert told["written"] == done["written"] == [new["path"], drifted["path"]]
    assert (told["changed"], told["due"], done["changed"], done["due"]) == (True, False, True, True)


def test_what_nobody_has_acted_on_yet_is_a_change_to_come(tree: Tree, tmp_path: Path) -> None:
    file = {"path": str(tmp_path / "file"), "content": "x\n"}
    tree(file)
    assert (tree(file, check=True)["changed"], tree(file)["due"]) == (True, True)
    tree(acted=True)
    assert (tree(file, check=True)["changed"], tree(file)["due"]) == (False, False)


def test_of_a_secret_only_the_path_is_told(tree: Tree, tmp_path: Path) -> None:
    plain, secret = ({"path": str(tmp_path / name), "content": f"content of {name}\n"} for name in ("plain", "secret"))
    answer = tree(plain, secret | {"secret": "true"}, check=True)
    assert answer["written"] == [plain["path"], secret["path"]]
    assert "content of plain" in json.dumps(answer["diff"])
    assert "content of secret" not in json.dumps(answer["diff"])


def test_a_look_finds_nothing_where_all_is_as_it_was_left(tree: Tree, look: Look, tmp_path: Path) -> None:
    tree({"path": str(tmp_path / "file"), "content": "x\n"})
    tree(acted=True)
    before = sorted(tmp_path.rglob("*"))
    assert look() == []
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "drift",
    [
        lambda file: file.write_text("y\n"),
        lambda file: file.write_bytes(b"x\r\n"),
        lambda file: file.write_bytes(b"\xff"),
        lambda file: file.chmod(0o644),
        lambda file: file.unlink(),
        lambda file: os.chown(file, 0, 1) if os.geteuid() == 0 else file.chmod(0o600),
        lambda file: file.symlink_to(file.rename(file.with_name("aside"))),
    ],
    ids=["content", "line ends", "no text", "mode", "gone", "group", "a link to it"],
)
def test_a_look_finds_a_file_that_drifted(
    tree: Tree, look: Look, tmp_path: Path, drift: Callable[[Path], object]
) -> None:
    file = tmp_path / "file"
    tree({"path": str(file), "content": "x\n"})
    tree(acted=True)
    drift(file)
    assert look() == [str(file)]
    tree({"path": str(file), "content": "x\n"})
    tree(acted=True)
    assert look() == []


def test_a_look_finds_a_role_that_never_ran_and_one_that_was_cut_off(tree: Tree, look: Look, tmp_path: Path) -> None:
    file = {"path": str(tmp_path / "file"), "content": "x\n"}
    tree(file, check=True)
    assert look() == ["no record of x as it is described"]
    tree(file)
    assert look() == [str(tmp_path / "due" / "x")]
    tree(acted=True)
    assert look() == []
    tree(file, described="")
    assert look() == ["no record of x as it is described"], "somebody else ran it, with whatever"
    (tmp_path / "records" / "x").write_text("{")
    assert look() == ["no record of x as it is described"]


@pytest.mark.parametrize(("text", "said"), [("", "exit code 0"), ("holds no\nmore\n", "exit code 0 holds no more")])
def test_a_state_that_lapsed_is_due_and_found_by_a_look(
    tree: Tree, look: Look, tmp_path: Path, text: str, said: str
) -> None:
    state = tmp_path / "state"
    state.write_text("holds\n")
    holds = [{"command": f"cat {state}", "says": "holds"}]
    assert (tree(holds=holds)["due"], look()) == (False, [])
    state.write_text(text)
    assert look() == [f"cat {state}: {said}"]
    told = tree(holds=holds, check=True)
    assert (told["changed"], told["lapsed"]) == (True, [f"cat {state}: {said}"])
    assert tree(holds=holds)["due"]


def test_a_state_that_nobody_can_tell_of_has_lapsed(tree: Tree, look: Look, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.symlink_to("/bin/true")
    assert (tree(holds=[{"command": str(program)}])["due"], look()) == (False, [])
    program.unlink()
    assert look() == [f"{program}: [Errno 2] No such file or directory: '{program}'"]


def test_what_a_role_of_before_left_is_taken_away_once(tree: Tree, tmp_path: Path) -> None:
    """But for a file that is its successor's now."""
    gone, kept = ({"path": str(tmp_path / name), "content": f"{name}\n"} for name in ("gone", "kept"))
    own = [pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name, "0640"]
    Path(gone["path"]).write_text("of a user's\n")
    left = {one["path"]: ["a digest", *own] for one in (gone, kept, {"path": str(tmp_path / "never there")})}
    qhs_tree.Record("", left, [], []).keep("before")
    told = tree(kept, check=True, replaces=["before"])
    assert (told["changed"], told["removed"], Path(gone["path"]).exists()) == (True, [gone["path"]], True)
    done = tree(kept, replaces=["before"])
    assert (done["changed"], done["removed"]) == (True, [gone["path"]])
    assert (Path(gone["path"]).exists(), Path(kept["path"]).exists()) == (False, True)
    tree(acted=True)
    again = tree(kept, replaces=["before"])
    assert (again["changed"], again["removed"], again["due"]) == (False, [], False)


def test_systemd_is_asked_about_the_units_that_files_describe() -> None:
    paths = ("system/a.service", "system/b.service.d/qhs.conf", "system/c@.service", "system/d.timer", "network/e.link")
    files = [{"path": f"/etc/systemd/{path}"} for path in paths]
    assert qhs_tree_write._described_here(files) == {"a.service", "b.service", "d.timer"}
