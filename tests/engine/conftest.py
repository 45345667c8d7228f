"""A small project for the real engine: one stack on a file backend, one provider plugin, any program."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

from qhs.engine import Engine, ensure_stack, prepare, run_pulumi

FIXTURES = Path(__file__).parent / "fixtures"
STACK = "probe.here.network"

PROJECT = """\
name: probe
runtime: python
main: program
stackConfigDir: config
plugins:
  providers:
    - name: probe
      path: provider
"""

FILE = """\
import pulumi

class File(pulumi.CustomResource):
    def __init__(self, name, path, text, seconds=0.0, opts=None):
        super().__init__("probe:index:File", name, {"path": path, "text": text, "seconds": seconds}, opts)
"""


@dataclass
class Project:
    """A project's folder, its engine, and what the engine has said so far."""

    folder: Path
    engine: Engine
    said: list[str] = field(default_factory=list)

    def program(self, text: str) -> None:
        """Make `text` the stack's program; `File` is there for it."""
        (self.folder / "program" / "__main__.py").write_text(FILE + dedent(text))

    def run(self, *args: str) -> str:
        """Run the engine on the stack and return everything it printed. Raises EngineError."""
        self.said.clear()
        run_pulumi(self.engine, list(args), stack=STACK, cwd=self.folder, on_line=self.said.append)
        return "\n".join(self.said)

    def up(self, *args: str) -> str:
        """`pulumi up`, without the preview that would double the time."""
        return self.run("up", "--yes", "--skip-preview", *args)

    def start(self) -> "subprocess.Popen[str]":
        """Start `pulumi up` itself, without `run_pulumi`, to be signalled."""
        command = [str(self.engine.program), "up", "--yes", "--skip-preview", "--stack", STACK, "--non-interactive"]
        command += ["--config-file", str(self.engine.settings(STACK))]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=dict(self.engine.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def resources(self) -> list[str]:
        """Types of the resources in the state."""
        state = json.loads(run_pulumi(self.engine, ["stack", "export"], stack=STACK, cwd=self.folder))
        return [one["type"] for one in state["deployment"].get("resources", [])]

    def processes(self) -> list[int]:
        """Every process with this project's PULUMI_HOME: engine, host, program, plugins and their children."""
        mark = f"PULUMI_HOME={self.engine.environ['PULUMI_HOME']}".encode()
        return [pid for pid in _pids() if mark in _environ(pid)]


@pytest.fixture
def new_project(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    made: list[Project] = []

    def make(policy_pack: Path | None = None) -> Project:
        folder = tmp_path / "project"
        (folder / "program").mkdir(parents=True)
        (folder / "Pulumi.yaml").write_text(PROJECT)
        shutil.copytree(FIXTURES / "provider", folder / "provider")
        project = Project(folder, prepare(tmp_path / "state", policy_pack=policy_pack))
        ensure_stack(project.engine, STACK, project.folder)
        made.append(project)
        return project

    yield make
    for project in made:
        for pid in project.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    return new_project()


def eventually(holds: Callable[[], object], seconds: float) -> bool:
    """Whether `holds()` becomes true within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return bool(holds())


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
