"""Run things inside the twin's network namespace, or a client's; files and processes stay the host's."""

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from qhs.errors import UserError
from qhs.twin.names import Twin


def command(twin: Twin, argv: Sequence[str], client: str | None = None) -> list[str]:
    """`argv` as a command line that runs it in the twin's namespace, or in `client`'s.

    nsenter, not `ip netns exec`, which would hide /sys/fs/cgroup. Raises UserError if it is not there.
    """
    path = twin.netns_path(client)
    if not path.exists():
        who = f"client {client}" if client else f"twin {twin.name}"
        raise UserError(f"{who} is not up: there is no {path}", "qhs up")
    return ["nsenter", f"--net={path}", "--", *argv]


def run(twin: Twin, argv: Sequence[str], client: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `argv` there to its end and return what it said; its exit code is the caller's to judge."""
    return subprocess.run(command(twin, argv, client), check=False, capture_output=True, text=True)


def call[T](namespace: Path, function: Callable[[], T]) -> T:
    """Call `function` with its sockets in a network namespace, and return what it returns.

    It runs in a thread of its own, which ends with it: a thread that has moved is of no use to anyone else.
    """
    result: list[T] = []
    raised: list[BaseException] = []

    def moved() -> None:
        try:
            with namespace.open() as opened:
                os.setns(opened.fileno(), os.CLONE_NEWNET)
            result.append(function())
        except BaseException as error:  # handed to the caller below, whatever it is
            raised.append(error)

    thread = threading.Thread(target=moved)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return result[0]
