"""The module that writes a role's files tells beforehand what it will change, and of a secret nothing but its path."""

from __future__ import annotations

import grp
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from scripts.playbooks.plugins.modules import qhs_tree_write

type Answer = dict[str, Any]
type Tree = Callable[..., Answer]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tree:
    """Run the module; what it answers."""
    monkeypatch.setattr(qhs_tree_write, "DUE", tmp_path / "due")
    own = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name, "mode": "0640"}

    def run(*files: dict[str, str], check: bool = False, acted: bool = False) -> Answer:
        role = {"acted": True} if acted else {"files": [own | one for one in files], "units": []}
        with (
            patch_module_args({"role": "x", **role, "_ansible_check_mode": check, "_ansible_diff": True}),
            pytest.raises(SystemExit),
        ):
            qhs_tree_write.main()
        answer: Answer = json.loads(capsys.readouterr().out)
        return answer

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
