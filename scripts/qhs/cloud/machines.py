"""Commands on control planes, as root there: what they say, and what they are given."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from qhs.errors import UserError
from qhs.twin import access, inside
from qhs.twin.names import Twin

WITHIN = 300
"""Seconds for a command to end: a part of a control plane takes its time to start."""


def run(twin: Twin, machine: str, *words: str, given: bytes = b"") -> bytes:
    """What a command prints. Raises UserError where it fails, with its last words."""
    ssh = ["ssh", "-F", str(access.config(twin)), "-o", "ConnectTimeout=5", "-o", "BatchMode=yes", machine, "--"]
    command = inside.command(twin, [*ssh, shlex.join(["sudo", "--non-interactive", *words])])
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=WITHIN)
    except subprocess.TimeoutExpired:
        raise _failed(machine, words, f"no end within {WITHIN} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise _failed(machine, words, said[-1] if said else f"it ended with {done.returncode}")
    return done.stdout


def everywhere(twin: Twin, machines: Iterable[str], *words: str) -> None:
    """The same on several at once: members of a store do not start one after the other. Raises UserError."""
    names = list(machines)
    with ThreadPoolExecutor(len(names)) as pool:
        for _ in pool.map(lambda name: run(twin, name, *words), names):
            pass


def _failed(machine: str, words: Iterable[str], why: str) -> UserError:
    return UserError(
        f"{machine}: {shlex.join(words)}: {why}", "put right what it names, then run the same command again"
    )
