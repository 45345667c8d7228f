"""Running the engine."""

import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from qhs.child import mortal
from qhs.engine.environment import Engine
from qhs.folders import CLONE
from qhs.progress import Progress

_TAIL = 40
_READ_SETTINGS = {"config", "destroy", "import", "preview", "refresh", "up"}
"""The commands that know the flag --config-file."""


class EngineError(Exception):
    """The engine ended with another exit code than 0.

    `output` is the end of what it said on both streams, `said` all of its standard output.
    """

    def __init__(self, command: str, code: int, output: str, said: str) -> None:
        super().__init__(f"`pulumi {command}` ended with exit code {code}:\n{output}")
        self.code = code
        self.output = output
        self.said = said


def run_pulumi(
    engine: Engine,
    args: list[str],
    *,
    stack: str | None = None,
    inside: Sequence[str] = (),
    through: Sequence[str] = (),
    on_line: Progress | None = None,
    cwd: Path = CLONE,
    given: str | None = None,
) -> str:
    """Run `pulumi ARGS`, never asking a question, and return what it printed on standard output.

    Both streams go to `on_line` as they come. `inside` is the start of a command line that runs the rest of it in
    another namespace; where the stack's state has a home of its own, it is run there. `through` is the start of one
    that gives the rest more that it needs. `given` is what it reads. Ctrl-C is handed on to the engine once each time
    it is pressed, as the engine wants it: the first ends what runs in good order, a second at once. Raises EngineError.
    """
    home = engine.homes.get(stack) if stack else None
    command = [
        *(home.reached if home else inside),
        *through,
        str(engine.program),
        *args,
        "--non-interactive",
        "--color=never",
    ]
    if stack:
        command += ["--stack", stack]
    if stack and args[0] in _READ_SETTINGS:
        command += ["--config-file", str(engine.settings(stack))]
    tail: deque[str] = deque(maxlen=_TAIL)
    said: list[str] = []

    def show(line: str) -> None:
        tail.append(line)
        if on_line:
            on_line(line)

    with subprocess.Popen(
        mortal(command, signal.SIGTERM),
        env=dict(engine.environ),
        cwd=cwd,
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        process_group=0,
    ) as process:
        readers = [
            threading.Thread(target=_read, args=(process.stdout, [said.append, show])),
            threading.Thread(target=_read, args=(process.stderr, [show])),
        ]
        for reader in readers:
            reader.start()
        if process.stdin and given is not None:
            _give(process.stdin, given)
        interrupted = _wait(process)
        for reader in readers:
            reader.join()
    if interrupted:
        raise KeyboardInterrupt
    if process.returncode:
        raise EngineError(" ".join(args), process.returncode, "\n".join(tail), "\n".join(said))
    return "\n".join(said)


def _read(stream: Iterable[str] | None, takers: list[Callable[[str], None]]) -> None:
    for line in stream or ():
        for take in takers:
            take(line.rstrip("\n"))


def _give(stream: IO[str], text: str) -> None:
    """It may end before it has read all of it, and says why."""
    with suppress(BrokenPipeError), stream:
        stream.write(text)


def _wait(process: "subprocess.Popen[str]") -> bool:
    """Wait for the end; tell whether Ctrl-C was pressed, which the engine, in a group of its own, hears from us."""
    interrupted = False
    while True:
        try:
            process.wait()
        except KeyboardInterrupt:
            interrupted = True
            process.send_signal(signal.SIGINT)
        else:
            return interrupted
