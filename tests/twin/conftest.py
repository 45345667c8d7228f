"""The live suite shares one twin of its own: memory holds only one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from qhs import image, tools
from qhs.twin.names import Twin
from stacks.model import load
from tests.pace import Pace
from tests.twin import accepted
from tests.twin.hosts import Hosts

NAME = "test"
QHS = Path(sys.executable).with_name("qhs")
LATE: list[str] = []
MEASURED: list[str] = []
"""What a suite's result says besides: figures that have a limit, and pass below it without a word."""
LOOKS = 20
UNTIL = float(os.environ.get("QHS_TEST_UNTIL", "inf"))
"""Seconds since the epoch: when `make test` begins no more live tests, as whoever runs it does not wait for ever."""
LEFT_OUT: list[str] = []
FIRST = "test_drill.py"
"""What the estate is for: on a machine that is too slow for all, it is not among what is left out."""
BEGUN: list[str] = []
"""Suites beside this one."""
BESIDE_LASTS = 1200
"""Seconds that they may take on a busy machine."""

type Run = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--beside", default="", help="suites to run while this one waits for minutes")


@pytest.fixture(scope="module")
def beside(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Those suites run from here on, on both processors; that they passed is judged when the module has ended."""
    suites = str(pytestconfig.getoption("--beside")).split()
    if not suites or time.time() > UNTIL - BESIDE_LASTS:
        yield
        return
    log = tmp_path_factory.mktemp("beside") / "log"
    BEGUN.extend(suites)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-n", "2", "--dist", "loadfile", *suites]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as running:
        yield
    said = log.read_text()
    failures = said.partition("= FAILURES =")[2]
    assert running.returncode == 0, failures[:8000] or said[-8000:]
    MEASURED.extend(f"beside: {line}" for line in said.splitlines() if line.startswith("SKIPPED") or " passed" in line)


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


@dataclass(frozen=True)
class WatchedUp:
    """A `qhs up`, and what anyone on the host could see of it."""

    report: dict[str, Any]
    started: float
    """Seconds since the epoch."""
    said: str
    """On both streams."""
    processes: set[bytes]
    """Command line and environment of every process that was seen on the host meanwhile."""
    slowness: float
    """How many times slower than a quiet machine this one was meanwhile; at least as it booted the twin's machines."""


@pytest.fixture(scope="session")
def from_nothing(qhs: Run) -> Iterator[WatchedUp]:
    """The first `qhs up`, with warm caches; the twin is taken away when the suite ends."""
    image.ensure(print)
    tools.ensure(["engine"], print)
    qhs("down")
    first = _watched_up(qhs)
    first = replace(first, slowness=max(first.slowness, accepted.slowness(first.report["seconds"])))
    _measured("first", first.report["seconds"])
    yield first
    gone = qhs("down")
    assert gone.returncode == 0, gone.stderr[-2000:]


@pytest.fixture(scope="session")
def hosts(twin: Twin, first_up: dict[str, Any]) -> Hosts:
    """All machines of the suite's twin, to be asked in parallel."""
    return Hosts(twin, tuple(load("twin").machines))


@pytest.fixture(scope="session")
def first_up(from_nothing: WatchedUp) -> dict[str, Any]:
    """The report of `qhs up` from nothing."""
    return from_nothing.report


@pytest.fixture(scope="session")
def second_up(qhs: Run, from_nothing: WatchedUp) -> WatchedUp:
    """The second `qhs up`, with nothing changed in between."""
    second = _watched_up(qhs)
    second = replace(second, slowness=max(second.slowness, from_nothing.slowness))
    _measured("second", second.report["seconds"])
    return second


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Drills come first, all else as it was."""
    items.sort(key=lambda one: one.path.name != FIRST)


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Leave a test out once the time is over; what stood for it is taken away when the suite ends."""
    if time.time() < UNTIL:
        return None
    LEFT_OUT.append(item.nodeid)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """T-A02: what was measured, and what took longer than was accepted, is said where the suite's result is."""
    beside = terminalreporter.config.getoption("--beside").split()
    if not BEGUN and time.time() > UNTIL - BESIDE_LASTS:
        LEFT_OUT.extend(beside)
    for title, lines in (
        ("measured", MEASURED),
        ("slower than accepted (tests/twin/accepted.yaml)", LATE),
        ("SKIPPED: the time of `make test` was over on this machine; `make live` runs them", LEFT_OUT),
    ):
        if lines:
            terminalreporter.section(title)
        for line in lines:
            terminalreporter.line(line)


def _measured(run: str, seconds: dict[str, float]) -> None:
    MEASURED.append(f"{run} up: " + ", ".join(f"{phase} {took:.1f} s" for phase, took in seconds.items()))
    LATE.extend(accepted.slower(run, seconds))


def _watched_up(qhs: Run) -> WatchedUp:
    seen: set[bytes] = set()
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(seen, over))
    pace = Pace()
    started = time.time()
    watcher.start()
    try:
        done = qhs("up", "--json")
    finally:
        over.set()
        watcher.join()
    slowness = pace.limit(1)
    assert done.returncode == 0, done.stderr[-4000:]
    return WatchedUp(json.loads(done.stdout), started, done.stdout + done.stderr, seen, slowness)


def _watch(seen: set[bytes], over: threading.Event) -> None:
    """Each process some times after it came, also in another program: all of them always would slow the run."""
    looks: dict[str, int] = {}
    while not over.wait(0.1):
        now = os.listdir("/proc")  # noqa: PTH208 - iterdir was seen to take six times as long
        looks = {process: looks.get(process, 0) + 1 for process in now if process.isdigit()}
        for process in (one for one, count in looks.items() if count <= LOOKS):
            for shown in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    seen.add(Path("/proc", process, shown).read_bytes())
