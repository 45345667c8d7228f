"""What holds something is refused by the genuine engine before it goes, also where no program declares it any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qhs.engine import EngineError
from tests.engine.conftest import Project

# A file may go once somebody has emptied it, as a database may once it has no tables.
PROGRAM = """
from pathlib import Path

from stacks.components.kept import kept

def judge(urn, inputs):
    if Path(inputs["path"]).read_text():
        raise ValueError(f"{inputs['path']}: holds something, and nobody let go {urn}")

keeps = kept({"probe:index:File": judge})
"""
DECLARED = 'File("%s", "%s", "%s", opts=pulumi.ResourceOptions(hooks=keeps))\n'
URN = "urn:pulumi:probe.here.network::probe::probe:index:File::one"


@pytest.fixture
def kept(project: Project, tmp_path: Path) -> Callable[..., None]:
    """Has the program declare these files beside what refuses that they go."""

    def declare(*names: str) -> None:
        files = "".join(DECLARED % (one, tmp_path / one, one) for one in names)
        project.program(PROGRAM + files)

    return declare


def refused(project: Project, *words: str) -> str:
    with pytest.raises(EngineError):
        project.run(*words)
    return "\n".join(project.said)


def test_what_holds_something_goes_neither_from_the_place_nor_from_the_state(
    project: Project, kept: Callable[..., None], tmp_path: Path
) -> None:
    """A preview says so already, so that an update does nothing else either; what is let go goes."""
    kept("one", "two")
    project.up()
    (tmp_path / "two").write_text("")
    before = project.resources()
    kept("two", "three")
    for words in (("preview",), ("up", "--yes")):
        assert f"{tmp_path}/one: holds something, and nobody let go {URN}" in refused(project, *words)
        assert (project.resources(), (tmp_path / "one").read_text()) == (before, "one")
        assert not (tmp_path / "three").exists()
    kept("one")
    project.run("up", "--yes")
    assert not (tmp_path / "two").exists()
    (tmp_path / "one").write_text("")
    kept()
    project.run("up", "--yes")
    assert not (tmp_path / "one").exists()


def test_to_destroy_it_takes_the_program(project: Project, kept: Callable[..., None], tmp_path: Path) -> None:
    kept("one", "two")
    project.up()
    (tmp_path / "two").write_text("")
    assert "--run-program" in refused(project, "destroy", "--yes")
    destroy = ("destroy", "--yes", "--run-program", "--target")
    assert f"nobody let go {URN}" in refused(project, *destroy, URN)
    project.run(*destroy, URN.replace("::one", "::two"))
    assert [(tmp_path / one).exists() for one in ("one", "two")] == [True, False]
