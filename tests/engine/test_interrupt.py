"""However a run ends, no process stays and the next `up` takes the state."""

import getpass
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qhs.engine import EngineError, ensure_stack
from tests.engine.conftest import STACK, Project, eventually

AT_ONCE = 10.0  # seconds: the engine gives its plugins five, on a machine that does other things too


@pytest.fixture
def halfway(project: Project, tmp_path: Path) -> Callable[[float], None]:
    """Declare a file whose making takes so many seconds."""

    def declare(seconds: float) -> None:
        project.program(f'File("slow", "{tmp_path / "made"}", "text", seconds={seconds})')

    return declare


def _begun(tmp_path: Path) -> bool:
    return eventually((tmp_path / "made.started").exists, 30)


def _next_up_works(project: Project, tmp_path: Path, halfway: Callable[[float], None]) -> None:
    halfway(0.0)
    ensure_stack(project.engine, STACK, project.folder)
    project.up()
    assert (tmp_path / "made").read_text() == "text"
    assert project.resources().count("probe:index:File") == 1
    project.up("--expect-no-changes")
    assert project.processes() == []


def test_one_interrupt_ends_in_good_order(project: Project, tmp_path: Path, halfway: Callable[[float], None]) -> None:
    halfway(3.0)
    engine = project.start()
    assert _begun(tmp_path)
    engine.send_signal(signal.SIGINT)
    said, _ = engine.communicate(timeout=3 + AT_ONCE)
    assert engine.returncode != 0
    assert "Traceback" not in said and "KeyboardInterrupt" not in said
    assert (tmp_path / "made").exists(), "what was being made is finished and recorded"
    assert "probe:index:File" in project.resources()
    assert eventually(lambda: not project.processes(), 1)
    _next_up_works(project, tmp_path, halfway)


def test_second_interrupt_ends_at_once(project: Project, tmp_path: Path, halfway: Callable[[float], None]) -> None:
    halfway(600.0)
    engine = project.start()
    assert _begun(tmp_path)
    engine.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        engine.communicate(timeout=1)
    engine.send_signal(signal.SIGINT)
    said, _ = engine.communicate(timeout=AT_ONCE)
    assert "Traceback" not in said and "KeyboardInterrupt" not in said
    assert eventually(lambda: not project.processes(), 1)
    _next_up_works(project, tmp_path, halfway)


def test_a_second_up_on_a_stack_is_told_who_holds_it(
    project: Project, tmp_path: Path, halfway: Callable[[float], None]
) -> None:
    """T-A18: by which process, of whom, on which machine, since when; it leaves the first one alone."""
    halfway(600.0)
    engine = project.start()
    assert _begun(tmp_path)
    with pytest.raises(EngineError) as refused:
        project.up()
    who = f"{getpass.getuser()}@{socket.gethostname()} (pid {engine.pid}) at "
    (since,) = re.findall(rf"{re.escape(who)}(\S+)", str(refused.value))
    assert 0 <= (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds() < 60
    ensure_stack(project.engine, STACK, project.folder)  # what clears the lock of a dead one lets it stand
    with pytest.raises(EngineError, match=re.escape(who)):
        project.up()
    assert engine.poll() is None
    engine.kill()
    engine.communicate(timeout=AT_ONCE)
    assert eventually(lambda: not project.processes(), AT_ONCE)
    _next_up_works(project, tmp_path, halfway)


def test_killed_engine(project: Project, tmp_path: Path, halfway: Callable[[float], None]) -> None:
    halfway(600.0)
    engine = project.start()
    assert _begun(tmp_path)
    engine.kill()
    engine.communicate(timeout=AT_ONCE)
    assert eventually(lambda: not project.processes(), AT_ONCE)
    with pytest.raises(EngineError, match="locked"):
        project.up()
    _next_up_works(project, tmp_path, halfway)


def test_killed_host(project: Project, tmp_path: Path, halfway: Callable[[float], None]) -> None:
    halfway(600.0)
    engine = project.start()
    assert _begun(tmp_path)
    (host,) = [pid for pid in project.processes() if b"/host.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(host, signal.SIGKILL)
    engine.communicate(timeout=2 * AT_ONCE)
    assert engine.returncode != 0
    # What the plugin itself has started (`sleep`) is its own to tie to its life; host, program and plugin are gone.
    for pid in project.processes():
        assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00600\x00"
        os.kill(pid, signal.SIGKILL)
    _next_up_works(project, tmp_path, halfway)


RUNNER = """
import sys
from pathlib import Path
from qhs.engine import prepare, run_pulumi
run_pulumi(
    prepare(Path(sys.argv[1]), policy_pack=None), ["up", "--yes", "--skip-preview", "--suppress-progress"],
    stack=sys.argv[2], cwd=Path(sys.argv[3]), on_line=print,
)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ended_caller(
    project: Project, tmp_path: Path, halfway: Callable[[float], None], number: signal.Signals
) -> None:
    halfway(3.0 if number == signal.SIGINT else 600.0)
    command = [sys.executable, "-c", RUNNER, str(project.engine.state), STACK, str(project.folder)]
    caller = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert _begun(tmp_path)
    caller.send_signal(number)
    caller.communicate(timeout=3 + AT_ONCE)
    assert eventually(lambda: not project.processes(), 3 + AT_ONCE)
    if number == signal.SIGINT:
        assert "probe:index:File" in project.resources(), "the engine ended in good order"
    _next_up_works(project, tmp_path, halfway)


def test_no_file_stands_beside_a_state_that_is_not_written_in_one_piece(
    project: Project, halfway: Callable[[float], None]
) -> None:
    """An engine that was killed at one of metadata has left it empty, and every later one failed on it."""
    halfway(0.0)
    project.up()
    stacks = project.engine.folder / ".pulumi" / "stacks"
    assert {path.suffix for path in stacks.rglob("*") if path.is_file()} == {".json", ".bak"}
