"""What a program says and how it ends reaches the engine's display."""

import re
import sys

import pytest

from qhs.engine import EngineError, run_pulumi
from tests.engine.conftest import STACK, Project


def test_output_reaches_the_display(project: Project) -> None:
    project.program("""
        import sys
        print("said on standard output")
        print("said on standard error", file=sys.stderr)
        pulumi.export("answer", 42)
    """)
    said = project.up()
    assert "said on standard output" in said
    assert "said on standard error" in said
    assert "answer: 42" in said


def test_traceback_reaches_the_display_once(project: Project) -> None:
    project.program("""
        def fails():
            raise ValueError("the seventh seal")
        fails()
    """)
    with pytest.raises(EngineError) as caught:
        project.run("preview")
    said = "\n".join(project.said)
    assert caught.value.code != 0
    assert said.count("ValueError: the seventh seal") == 1
    assert "in fails" in said
    # Exit code 32: the error was shown already, so the host adds none of its own.
    assert "exit code" not in said


def test_other_exit_code_is_an_error_of_the_host(project: Project) -> None:
    project.program("import os; os._exit(7)")
    with pytest.raises(EngineError):
        project.run("preview")
    assert "the program ended with exit code 7" in "\n".join(project.said)


def test_death_by_signal_is_named(project: Project) -> None:
    project.program("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(EngineError):
        project.run("preview")
    assert "the program was ended by SIGKILL" in "\n".join(project.said)


def test_error_without_traceback(project: Project) -> None:
    project.program('raise pulumi.RunError("the catalogue has no zone dmz")')
    with pytest.raises(EngineError):
        project.run("preview")
    said = "\n".join(project.said)
    assert "the catalogue has no zone dmz" in said
    assert "Traceback" not in said


def test_config_and_secrets(project: Project) -> None:
    project.run("config", "set", "colour", "red")
    project.run("config", "set", "--secret", "pin", "hush-4711")
    project.program("""
        config = pulumi.Config()
        pulumi.export("colour", config.require("colour"))
        pulumi.export("length", config.require_secret("pin").apply(len))
        pulumi.export("pin", config.require_secret("pin"))
        pulumi.export("secrets", [key for key in ("probe:colour", "probe:pin") if pulumi.runtime.is_config_secret(key)])
    """)
    said = project.up()
    assert re.search(r'colour *: "red"', said)
    assert "[secret]" in said
    assert '[0]: "probe:pin"' in said and '"probe:colour"' not in said
    assert "hush-4711" not in said
    assert "hush-4711" not in _everything(project)
    outputs = run_pulumi(
        project.engine, ["stack", "output", "--json", "--show-secrets"], stack=STACK, cwd=project.folder
    )
    assert '"pin": "hush-4711"' in outputs
    assert '"length": 9' in outputs


def test_about_names_this_interpreter(project: Project) -> None:
    project.program("")
    said = run_pulumi(project.engine, ["about", "--json"], cwd=project.folder)
    assert sys.executable in said
    assert '"pulumi-policy"' in said or '"pulumi_policy"' in said


def _everything(project: Project) -> str:
    kept = [path for path in (*project.engine.state.rglob("*"), *project.folder.rglob("*")) if path.is_file()]
    return "\n".join(path.read_text(errors="replace") for path in kept)
