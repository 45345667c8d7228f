"""Child processes that do not outlive us."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Run in the child itself: with `preexec_fn` Python would fork, and gRPC's fork handlers crash now and then.
_PRELUDE = """
import ctypes, os, sys
getattr(ctypes.CDLL(None), "prctl", lambda *_: None)(1, int(sys.argv[1]))
os.execvp(sys.argv[2], sys.argv[2:])
"""

SIGNALLED = 128
"""As shells have it: what is above is the signal that ended a command."""


def mortal(command: list[str], number: signal.Signals = signal.SIGKILL) -> list[str]:
    """`command`, to which Linux sends `number` when the thread that starts it ends, killed or not. Costs 20 ms."""
    return [sys.executable, "-ISc", _PRELUDE, str(int(number)), *command]


def end_group(process: "subprocess.Popen[str]", patience: float = 5.0) -> None:
    """End a process that leads a group, and the group: SIGTERM, after `patience` seconds SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def follow(command: list[str], environ: Mapping[str, str], cwd: Path, on_line: Callable[[str], None]) -> int:
    """Run `command`, hand on what it prints line by line, return its exit code.

    The command leads a process group of its own, which is ended if this call is left early (Ctrl-C included).
    """
    with subprocess.Popen(
        mortal(command),
        env=dict(environ),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    ) as process:
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        try:
            for line in process.stdout:
                on_line(line.rstrip("\n"))
            return process.wait()
        except BaseException:
            end_group(process)
            raise


def handed_on(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run `command` to its end on our own streams; signals are handed on, as it ends what it does in good order."""
    with subprocess.Popen(mortal([*command], signal.SIGTERM), env=dict(environ)) as process:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: process.send_signal(number))
        code = process.wait()
    return code if code >= 0 else SIGNALLED - code


def in_memory(text: str) -> str:
    """The name of a file of this process, for its children and others of its user, while it lives."""
    number = os.memfd_create("given")
    os.write(number, text.encode())
    return f"/proc/{os.getpid()}/fd/{number}"
