"""What every run of the engine gets from its surroundings."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from qhs.engine import ensure_stack, prepare
from tests.engine.conftest import STACK, Project


def test_passphrase_is_random_private_and_made_once(tmp_path: Path) -> None:
    first = prepare(tmp_path / "one")
    file = Path(first.environ["PULUMI_CONFIG_PASSPHRASE_FILE"])
    said = file.read_text()
    assert len(said) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.state.stat().st_mode) == 0o700
    prepare(tmp_path / "one")
    assert file.read_text() == said
    assert Path(prepare(tmp_path / "two").environ["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text() != said


def test_settings_of_the_caller_do_not_leak_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "theirs")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://theirs")
    environ = prepare(tmp_path / "state").environ
    assert "PULUMI_CONFIG_PASSPHRASE" not in environ
    assert environ["PULUMI_BACKEND_URL"] == f"file://{tmp_path}/state/pulumi?metadata=skip"
    assert environ["PULUMI_OPTION_POLICY_PACK"].endswith("/policies/pack")


def test_installed_engine_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = prepare(tmp_path / "one").program
    theirs = tmp_path / "bin"
    theirs.mkdir()
    (theirs / "pulumi").symlink_to(ours)
    monkeypatch.setenv("PATH", str(theirs), prepend=os.pathsep)
    assert prepare(tmp_path / "two").program == ours, "it has no language host, so it is of no use"
    (theirs / "pulumi-language-python").symlink_to(ours.with_name("pulumi-language-python"))
    assert prepare(tmp_path / "two").program == theirs / "pulumi"


def test_lost_settings_come_back_with_their_secrets(project: Project) -> None:
    project.run("config", "set", "--secret", "pin", "hush-4711")
    project.program('pulumi.export("length", pulumi.Config().require_secret("pin").apply(len))')
    project.up()
    project.engine.settings(STACK).unlink()
    ensure_stack(project.engine, STACK, project.folder)
    project.up("--expect-no-changes")
    assert "hush-4711" not in project.engine.settings(STACK).read_text()


def test_a_project_file_that_another_stack_is_made_from_stays_whole(project: Project) -> None:
    """Stacks are made side by side: the file that stands in for the project's is put there once, and in one piece."""
    stand_in = project.engine.settings(STACK).with_name("Pulumi.yaml")
    before = stand_in.stat()
    ensure_stack(project.engine, "probe.there.network", project.folder)
    assert (stand_in.stat().st_ino, stand_in.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    text = stand_in.read_text()
    stand_in.write_text("name: other\n")
    with stand_in.open() as being_read:
        ensure_stack(project.engine, "probe.elsewhere.network", project.folder)
        assert being_read.read() == "name: other\n"
    assert stand_in.read_text() == text
    assert [one.name for one in stand_in.parent.iterdir() if "Pulumi" not in one.name] == []


def test_nothing_is_warned_about(new_project: Callable[..., Project]) -> None:
    """Above all not a language host that the engine finds in an unexpected place."""
    project = new_project()
    project.program("")
    assert "warning" not in project.up().lower()
