"""T-A05 for the network: the engine is killed at random while it changes a site, and the next run always converges."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from qhs.child import SIGNALLED
from tests.engine.clone_copy import CloneCopy
from tests.twin.waiting import await_

SITE = "hall"
STACK = f"twin.{SITE}.network"
KILLS = 50
SERVICES = "stacks/catalogue/services.yaml"
WITH, WITHOUT = "ports: [udp/123, tcp/4460]", "ports: [udp/123]"
"""In turn: it changes the pair and machines, and nothing that the way to manage them hangs on."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloneCopy]:
    """With a twin of its own, which is up."""
    folder = tmp_path_factory.mktemp("kills")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHS_TWIN", "soak")
        clone = CloneCopy.make(folder / "clone")
        try:
            assert clone.qhs("up").returncode == 0
            yield clone
        finally:
            clone.qhs("down")


def pulumi(clone: CloneCopy, *words: str) -> subprocess.CompletedProcess[str]:
    return clone.qhs("shell", "--", "pulumi", *words, "-s", STACK)


def killed(clone: CloneCopy, after: float) -> bool:
    """Begin an update and kill the engine after these seconds; whether it was still at work."""
    command = ["-c", "from qhs.main import main; main()", "shell", "--", "pulumi", "up", "--yes", "-s", STACK]
    with subprocess.Popen(
        [sys.executable, *command],
        env=clone.environ,
        cwd=clone.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        await_(lambda: engine_below(running.pid) is not None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(after)
        if (engine := engine_below(running.pid)) is not None:
            os.kill(engine, signal.SIGKILL)
    return running.returncode == SIGNALLED + signal.SIGKILL


def engine_below(pid: int) -> int | None:
    """The engine that a process has started, or one that it started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if Path(f"/proc/{pid}/comm").read_text() == "pulumi\n":
            return pid
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((found for one in children if (found := engine_below(int(one))) is not None), None)


def resources(clone: CloneCopy) -> Counter[str]:
    state = json.loads(pulumi(clone, "stack", "export").stdout)["deployment"]
    assert "pending_operations" not in state
    return Counter(one["urn"] for one in state["resources"])


def test_after_every_kill_the_next_run_converges(clone: CloneCopy, figures: dict[str, float]) -> None:
    chance = random.Random(5)  # noqa: S311 - moments, no secrets
    before = resources(clone)
    clone.change(SERVICES, WITH, WITHOUT)
    began = time.monotonic()
    assert pulumi(clone, "up", "--yes").returncode == 0
    whole, at_work = time.monotonic() - began, 0
    for number in range(KILLS):
        clone.change(SERVICES, *((WITH, WITHOUT) if number % 2 else (WITHOUT, WITH)))
        at_work += killed(clone, chance.uniform(0, whole))
        pulumi(clone, "cancel", "--yes")
        done = pulumi(clone, "up", "--yes")
        assert done.returncode == 0, (number, done.stdout[-3000:])
        # Of every machine the kernel's own rules: one more, one less, one twice would be a change.
        same = pulumi(clone, "preview", "--refresh", "--expect-no-changes")
        assert same.returncode == 0, (number, same.stdout[-3000:])
        assert resources(clone) == before
    figures.update({"kills": KILLS, "of an engine at work": at_work, "seconds of a whole update": round(whole, 1)})
