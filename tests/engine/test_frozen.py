"""What the genuine engine lets happen to an application on days on which it must not be changed (S-112, S-113)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qhs.engine import EngineError
from tests.engine.conftest import STACK, Project

# An application has two files; what somebody approved has a file of its name.
PROGRAM = """
from datetime import date
from pathlib import Path

from stacks.approvals import ApprovalError
from stacks.components.frozen import Freezes, frozen
from stacks.model.catalogue import Tenant, Window

class Approvers:
    def require(self, action, subject):
        if not Path("{folder}", f"{{action}} of {{subject}}").exists():
            raise ApprovalError(f"nobody approved {{action}} of {{subject}}")

days = [Window(first=date(2027, 5, 15), last=date(2027, 6, 30), why="session")]
tenants = {{name: Tenant.model_construct(freeze_windows=days) for name in {tenants}}}
freezes = Freezes(tenants, date.fromisoformat("{today}"), Approvers())
hooks = frozen(freezes.hook(lambda args: args.name.partition("-")[0]))
again = pulumi.ResourceOptions(replace_on_changes=["text"], delete_before_replace=True, hooks=hooks)
for one, text in {files}.items():
    File(one, f"{folder}/{{one}}", text, opts=again if text == "anew" else pulumi.ResourceOptions(hooks=hooks))
"""
BEFORE, WITHIN, AFTER = "2027-05-14", "2027-05-15", "2027-07-01"
FILES = {"mail-one": "1", "mail-two": "2"}
CHANGE = f"change of {STACK}::mail"

type Declare = Callable[..., None]


@pytest.fixture
def declare(project: Project, tmp_path: Path) -> Declare:
    """Has the program declare these files on a day, of applications that the catalogue has."""

    def declared(today: str, files: dict[str, str], tenants: tuple[str, ...] = ("mail",)) -> None:
        project.program(PROGRAM.format(folder=tmp_path, today=today, files=files, tenants=tenants))

    return declared


def refused(project: Project, *words: str) -> str:
    """What is said; the state stays as it was."""
    before = project.resources()
    with pytest.raises(EngineError):
        project.run(*words)
    assert project.resources() == before
    return "\n".join(project.said)


def test_what_came_before_such_a_day_is_changed_or_removed_on_it_by_approval_alone(
    project: Project, declare: Declare, tmp_path: Path
) -> None:
    """Also where the catalogue has the application no more: then nobody knows its days."""
    declare(BEFORE, FILES)
    project.up()
    for two in ({"mail-two": "3"}, {"mail-two": "anew"}, {}):
        declare(WITHIN, {"mail-one": "1", **two})
        said = refused(project, "preview")
        assert "mail is not changed until 2027-06-30 is over (session)" in said and f"nobody approved {CHANGE}" in said
    declare(WITHIN, {}, ())
    said = refused(project, "up", "--yes", "--skip-preview")
    assert "mail is in the catalogue no more" in said and f"nobody approved {CHANGE}" in said
    assert all((tmp_path / one).read_text() == text for one, text in FILES.items())
    (tmp_path / CHANGE).touch()
    project.run("up", "--yes")
    assert "probe:index:File" not in project.resources()


def test_what_came_on_such_a_day_is_free_afterwards(project: Project, declare: Declare, tmp_path: Path) -> None:
    declare(WITHIN, FILES | {"mail-three": "1"})
    project.up()
    declare(AFTER, {"mail-one": "3", "mail-two": "anew"})
    project.run("up", "--yes")
    assert project.resources().count("probe:index:File") == 2
    assert [(tmp_path / one).read_text() for one in FILES] == ["3", "anew"]


def test_what_came_before_there_was_this_hook_has_it_from_the_next_run_on(
    project: Project, declare: Declare, tmp_path: Path
) -> None:
    """Such a run changes nothing, whatever the day, and asks no hook of another name, which nobody registers now."""
    project.program(f"""
        hook = pulumi.ResourceHook("frozen-mail", lambda _: None, pulumi.ResourceHookOptions(on_dry_run=True))
        hooks = pulumi.ResourceHookBinding(before_update=[hook], before_delete=[hook])
        File("mail-one", "{tmp_path}/mail-one", "1", opts=pulumi.ResourceOptions(hooks=hooks))
        File("mail-two", "{tmp_path}/mail-two", "2")
    """)
    project.up()
    declare(WITHIN, FILES)
    project.up()
    declare(WITHIN, {})
    said = refused(project, "preview")
    assert all(f"found a change of {one}" in said for one in FILES), said
