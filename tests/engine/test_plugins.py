"""A provider plugin and a policy pack in Python run under the host."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qhs.engine import EngineError
from tests.engine.conftest import FIXTURES, Project


def test_provider_plugin(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "made"
    project.program(f'File("one", "{target}", "first")')
    project.run("preview")
    assert not target.exists()
    project.up()
    assert target.read_text() == "first"
    project.up("--expect-no-changes")
    project.program(f'File("one", "{target}", "second")')
    project.up()
    assert target.read_text() == "second"
    target.write_text("drifted")
    project.run("refresh", "--yes")
    assert "1 to update" in project.run("preview")
    project.run("destroy", "--yes")
    assert not target.exists()
    assert project.processes() == []


def test_plugin_that_fails_to_start_says_why(project: Project, tmp_path: Path) -> None:
    (project.folder / "provider" / "__main__.py").write_text('raise SystemExit("no such token")')
    project.program(f'File("one", "{tmp_path / "made"}", "first")')
    with pytest.raises(EngineError):
        project.run("preview")
    assert "no such token" in "\n".join(project.said)


def test_policy_pack_blocks(new_project: Callable[..., Project], tmp_path: Path) -> None:
    project = new_project(policy_pack=FIXTURES / "pack")
    target = tmp_path / "made"
    project.program(f'File("one", "{target}", "forbidden")')
    for command in (["preview"], ["up", "--yes", "--skip-preview"]):
        with pytest.raises(EngineError):
            project.run(*command)
        assert "this text is not allowed" in "\n".join(project.said)
    assert not target.exists()
    project.program(f'File("one", "{target}", "allowed")')
    project.up()
    assert target.read_text() == "allowed"
