"""T-A10: what a stack hands on to another of its site, on the genuine engine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qhs.engine import Engine, EngineError, Home, ensure_stack, prepare, run_pulumi
from qhs.errors import UserError
from qhs.plan import Verdict, previews
from qhs.progress import silent
from qhs.state import homes, moves
from qhs.twin.names import Twin
from stacks.handed import CLIENTS
from stacks.model import load
from tests.engine.conftest import Project

BELOW, ABOVE = "probe.here.signing", "probe.here.cloud"
GIVES = 'handed.CLIENTS.give(File("made", "{folder}/made", "{text}").text)'
PROGRAM = """
from stacks import handed
from stacks.name import StackName

if StackName.parse(pulumi.get_stack()).layer == "signing":
    {below}
else:
    File("taken", "{folder}/taken", handed.CLIENTS.take())
"""
LACKS = f"{BELOW}: found no output {CLIENTS.name}; wanted what {ABOVE} takes from it: {CLIENTS.what}. Way out: `qhs up`"


class Layers:
    """Two stacks of a site, of which the upper one takes what the lower one makes."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.folder, self._project = folder, project
        for stack in (BELOW, ABOVE):
            ensure_stack(project.engine, stack, project.folder)

    def program(self, below: str, text: str = "") -> None:
        """What the lower stack declares."""
        told = below.format(folder=self.folder, text=text)
        self._project.program(PROGRAM.format(below=told, folder=self.folder))

    def run(self, stack: str, *words: str) -> str:
        """What the engine says. Raises EngineError."""
        return run_pulumi(self._project.engine, list(words), stack=stack, cwd=self._project.folder)

    def up(self, stack: str) -> str:
        return self.run(stack, "up", "--yes", "--skip-preview")

    def refused(self, stack: str, *words: str) -> str:
        with pytest.raises(EngineError) as caught:
            self.run(stack, *words)
        return caught.value.said

    @property
    def taken(self) -> str:
        return (self.folder / "taken").read_text()


@pytest.fixture
def layers(project: Project, tmp_path: Path) -> Layers:
    return Layers(project, tmp_path)


def test_an_output_that_is_gone_fails_the_preview_of_who_takes_it(layers: Layers) -> None:
    layers.program(GIVES, "one")
    layers.up(BELOW)
    layers.up(ABOVE)
    assert layers.taken == "one"
    layers.program('File("made", "{folder}/made", "two"); pulumi.export("other", "one")')
    layers.up(BELOW)
    for words in (("preview",), ("up", "--yes", "--skip-preview")):
        said = layers.refused(ABOVE, *words)
        assert LACKS in said
        assert "Traceback" not in said
    assert layers.taken == "one"


def test_a_failed_update_keeps_the_last_good_outputs(layers: Layers) -> None:
    """Whether what is handed on could not be made, or the program failed before it came to that."""
    layers.program(GIVES, "one")
    layers.up(BELOW)
    layers.up(ABOVE)
    for fails in ('handed.CLIENTS.give(File("other", "{folder}/nowhere/other", "two").text)', "raise OSError"):
        layers.program(fails)
        layers.refused(BELOW, "up", "--yes", "--skip-preview")
        assert json.loads(layers.run(BELOW, "stack", "output", "--json")) == {CLIENTS.name: "one"}
        layers.run(ABOVE, "preview", "--expect-no-changes")
    layers.program(GIVES, "three")
    layers.up(BELOW)
    layers.up(ABOVE)
    assert layers.taken == "three"


def test_below_what_was_never_applied_a_preview_knows_nothing_and_an_update_is_refused(layers: Layers) -> None:
    layers.program(GIVES, "one")
    assert "+ 2 to create" in layers.run(ABOVE, "preview")
    assert LACKS in layers.refused(ABOVE, "up", "--yes", "--skip-preview")
    assert not (layers.folder / "taken").exists()


def test_a_stack_that_is_not_there_is_named(layers: Layers) -> None:
    layers.program(GIVES, "one")
    layers.run(BELOW, "stack", "rm", "--yes")
    assert f'unknown stack "organization/probe/{BELOW}"' in layers.refused(ABOVE, "preview")


@pytest.fixture
def applied(tmp_path: Path) -> Callable[..., Engine]:
    """Has an update of the signing stack of a site leave these outputs; the engine for what is above it."""
    (tmp_path / "project" / "program").mkdir(parents=True)
    (tmp_path / "project" / "Pulumi.yaml").write_text("name: qhs\nruntime: python\nmain: program\n")
    stack, cwd = "twin.qhdc.signing", tmp_path / "project"

    def make(**outputs: str) -> Engine:
        lines = [f"pulumi.export({name!r}, {value!r})" for name, value in outputs.items()]
        (cwd / "program" / "__main__.py").write_text("\n".join(["import pulumi", *lines]))
        engine = prepare(tmp_path / "state", policy_pack=None)
        ensure_stack(engine, stack, cwd)
        run_pulumi(engine, ["up", "--yes", "--skip-preview"], stack=stack, cwd=cwd)
        return prepare(tmp_path / "state")

    return make


def test_the_estate_is_planned_by_what_a_stack_has_handed_on(applied: Callable[..., Engine]) -> None:
    """The genuine `cloud` stack, below which `signing` was applied: with the output, and once that is gone."""
    above = "twin.qhdc.cloud"
    (plan,) = previews(applied(gaps="", clients="a certificate"), [above], silent)
    assert plan.verdict is Verdict.ACCEPTED
    with pytest.raises(UserError) as caught:
        previews(applied(gaps=""), [above], silent)
    assert f"twin.qhdc.signing: found no output {CLIENTS.name}; wanted what {above} takes from it" in str(caught.value)


def test_the_estate_hands_on_what_is_taken(applied: Callable[..., Engine]) -> None:
    """The genuine `signing` stack, which will know it once it is applied."""
    said = run_pulumi(applied(gaps=""), ["preview"], stack="twin.qhdc.signing")
    assert re.search(rf"^ +\+ {CLIENTS.name} *: \[unknown\]", said, re.MULTILINE), said


def test_a_stack_that_is_new_at_a_site_goes_to_those_that_hand_something_on_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state, which says nothing yet, is brought to where its site's other states are. Here a folder is that."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    new, known = "twin.ndc.cloud", {"twin.ndc.signing": "ndc"}
    away = tmp_path / "ndc"
    away.mkdir()
    home = Home("ndc", ["env", f"PULUMI_BACKEND_URL=file://{away}"])
    monkeypatch.setattr(homes, "_home", lambda *_: home)
    monkeypatch.setattr(moves, "ENCRYPTED", "passphrase")
    monkeypatch.setattr(moves, "encrypted_by", lambda state, _: state)
    monkeypatch.setattr(moves, "stack_names", lambda _: [*known, new])
    twin, estate = Twin("new"), load("twin")
    engine = prepare(twin.state, policy_pack=None)
    homes.write(twin, known)
    assert not homes.together(known, [*known, new])
    ensure_stack(engine, new)
    assert moves.adopt(engine, twin, estate, silent) == [new]
    assert homes.together(homes.read(twin), [*known, new])
    assert moves.resources(moves.exported(replace(engine, homes={new: home}), new)) == []
