"""The launcher of the Python language host, for an engine that we built ourselves."""

import hashlib
import shlex
import sys
from pathlib import Path

from qhs.progress import Progress
from qhs.tools import store
from qhs.tools.spec import TOOLS

_SOURCE = TOOLS / "pulumi-language-python" / "host.py"


def language_host(bootstrap: Path, progress: Progress) -> Path:
    """The folder with `pulumi-language-python` for this interpreter. `bootstrap` is the engine's own starter."""
    command = shlex.join([sys.executable, str(_SOURCE), f"--bootstrap={bootstrap}"])
    # gRPC's handlers of fork() crash a child now and then; children of the host start programs of their own at once.
    # Until the host has its own handler a SIGINT is ignored: Python's would print a traceback over the engine's result.
    launcher = f"#!/bin/sh\ntrap '' INT\nGRPC_ENABLE_FORK_SUPPORT=0 exec {command} \"$@\"\n"

    def make(folder: Path) -> None:
        program = folder / "pulumi-language-python"
        program.write_text(launcher)
        program.chmod(0o755)

    key = hashlib.sha256(launcher.encode()).hexdigest()[:16]
    return store.keep("pulumi-language-python", key, make, progress).folder
