"""The programs and plugins that the host runs: none is left behind, however the host ends."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from qhs.child import mortal

_PATIENCE = 3.0  # seconds between SIGTERM and SIGKILL; the engine kills the host itself after five


class Children:
    """Each child leads a process group of its own, so that a Ctrl-C or the engine's SIGINT reaches the host alone."""

    def __init__(self) -> None:
        self._running: set[Process] = set()

    @asynccontextmanager
    async def start(
        self, command: list[str], environ: Mapping[str, str], cwd: str, pipe: int | None = None
    ) -> AsyncIterator[Process]:
        """A child that is ended, with its whole group, when the block is left. Its output is the host's, or `pipe`s."""
        process = await asyncio.create_subprocess_exec(
            *mortal(command),
            env=environ,
            cwd=cwd or None,
            stdin=DEVNULL,
            stdout=pipe,
            stderr=pipe,
            process_group=0,
        )
        self._running.add(process)
        try:
            yield process
        finally:
            await asyncio.shield(self._end(process))

    async def end_all(self) -> None:
        """End every child that still runs."""
        await asyncio.gather(*(self._end(process) for process in set(self._running)))

    async def _end(self, process: Process) -> None:
        if process.returncode is None:
            _signal(process, signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _PATIENCE)
        _signal(process, signal.SIGKILL)  # what the child itself started and left
        await process.wait()
        self._running.discard(process)


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
