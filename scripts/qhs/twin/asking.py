"""Programs that machines run to answer a question: sent over SSH, run as root with the Python there, not kept."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from qhs.twin import access, inside
from qhs.twin.names import Twin

AT_ONCE = 8
ANSWER_WITHIN = 60  # seconds


@dataclass(frozen=True)
class Answer:
    """What a machine has printed; or why there is no answer."""

    said: str = ""
    missing: str = ""


def ask(twin: Twin, program: str, arguments: Mapping[str, Sequence[str]]) -> dict[str, Answer]:
    """Ask machines, in parallel and each once; `arguments` of the program by the machine's name."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(lambda name: _ask(twin, program, name, arguments[name]), arguments)
        return dict(zip(arguments, answers, strict=True))


def _ask(twin: Twin, program: str, machine: str, arguments: Iterable[str]) -> Answer:
    ssh = ["ssh", "-F", str(access.config(twin)), "-o", "ConnectTimeout=5", "-o", "BatchMode=yes", machine, "--"]
    remote = ["sudo", "--non-interactive", "/usr/bin/python3", "-I", "-", *arguments]
    try:
        done = subprocess.run(
            inside.command(twin, [*ssh, *remote]),
            input=program,
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_WITHIN,
        )
    except subprocess.TimeoutExpired:
        return Answer(missing=f"no answer within {ANSWER_WITHIN} s")
    if done.returncode:
        return Answer(missing=(done.stderr.strip() or f"ssh ended with {done.returncode}").splitlines()[-1])
    return Answer(done.stdout)
