"""An engine that we built ourselves, with the Python language host beside it."""

import hashlib
import os
import shlex
import sys
from pathlib import Path

from qhs.progress import Progress
from qhs.tools import Tool, store
from qhs.tools.spec import TOOLS

_HOST = TOOLS / "pulumi-language-python" / "host.py"


def with_language_host(engine: Tool, progress: Progress) -> Path:
    """The folder of `pulumi` and of `pulumi-language-python`, which runs programs under this interpreter.

    The engine looks for the host in its own folder and warns on every run about one that is elsewhere on PATH. Hence a
    folder for each interpreter, with a hard link to the engine.
    """
    command = [sys.executable, str(_HOST), f"--bootstrap={engine.programs['pulumi-language-python-exec']}"]
    # gRPC's handlers of fork() crash a child now and then; children of the host start programs of their own at once.
    # Until the host has its own handler a SIGINT is ignored: Python's would print a traceback over the engine's result.
    launcher = f"#!/bin/sh\ntrap '' INT\nGRPC_ENABLE_FORK_SUPPORT=0 exec {shlex.join(command)} \"$@\"\n"

    def make(folder: Path) -> None:
        os.link(engine.programs["pulumi"], folder / "pulumi")
        program = folder / "pulumi-language-python"
        program.write_text(launcher)
        program.chmod(0o755)

    key = hashlib.sha256(launcher.encode()).hexdigest()[:16]
    return store.keep("engine-python", key, make, progress).folder
