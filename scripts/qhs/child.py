"""Child processes that do not outlive us."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """For a child before exec: on Linux the kernel sends it `number` when the thread that started it ends."""
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)


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
        command,
        env=dict(environ),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, and nothing else can outlive a SIGKILL of ours
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
