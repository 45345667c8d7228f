"""The live suite shares one twin of its own: memory holds only one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qhs.twin.names import Twin
from stacks.model import load
from tests.twin.hosts import Hosts

NAME = "test"
QHS = Path(sys.executable).with_name("qhs")

type Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def twin() -> Twin:
    """The suite's twin; QHS_TWIN of whoever runs the tests is left alone."""
    return Twin(NAME)


@pytest.fixture(scope="session")
def qhs() -> Run:
    """Run `qhs` on the suite's twin and return what it said; its exit code is the test's to judge."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "QHS_TWIN": NAME}
        return subprocess.run([QHS, *arguments], env=env, capture_output=True, text=True, check=False, **options)

    return run


@pytest.fixture(scope="session")
def first_up(qhs: Run) -> Iterator[dict[str, Any]]:
    """The report of `qhs up` from nothing; the twin is taken away when the suite ends."""
    qhs("down")
    done = qhs("up", "--json")
    assert done.returncode == 0, done.stderr[-4000:]
    yield json.loads(done.stdout)
    gone = qhs("down")
    assert gone.returncode == 0, gone.stderr[-2000:]


@pytest.fixture(scope="session")
def hosts(twin: Twin, first_up: dict[str, Any]) -> Hosts:
    """All machines of the suite's twin, to be asked in parallel."""
    return Hosts(twin, tuple(load("twin").machines))


@dataclass(frozen=True)
class SecondUp:
    """The second `qhs up`, with nothing changed in between."""

    report: dict[str, Any]
    command_lines: set[str]
    """Of every process that was seen on the host meanwhile."""


@pytest.fixture(scope="session")
def second_up(qhs: Run, first_up: dict[str, Any]) -> SecondUp:
    """Run `qhs up` again and watch every command line of the host."""
    seen: set[str] = set()
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(seen, over))
    watcher.start()
    done = qhs("up", "--json")
    over.set()
    watcher.join()
    assert done.returncode == 0, done.stderr[-4000:]
    return SecondUp(json.loads(done.stdout), seen)


def _watch(seen: set[str], over: threading.Event) -> None:
    while not over.wait(0.05):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                seen.add(path.read_text(errors="replace"))
