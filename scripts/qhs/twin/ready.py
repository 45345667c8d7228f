"""Wait until machines answer SSH where their operator will call them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from qhs.errors import UserError
from qhs.progress import Progress
from qhs.twin import inside

_ASK_EVERY = 0.1
_PATIENCE = 0.5
"""Seconds for one answer: shorter than TCP's first retry, which a machine just up would wait for."""
_SSH = 22


@dataclass
class Wait:
    """Machines by name and the address each is to answer on; `died` and `tail` tell of those that do not."""

    addresses: dict[str, str]
    died: Callable[[str], bool]
    tail: Callable[[str], str]
    progress: Progress
    started: float = field(default_factory=time.monotonic)
    answered: dict[str, float] = field(default_factory=dict)
    """Seconds that each took since `started`."""

    def run(self, namespace: Path, seconds: float) -> None:
        """Ask from a network namespace until all have answered. Raises UserError for one that died, or all late."""
        try:
            inside.call(namespace, lambda: asyncio.run(self._all(seconds)))
        except TimeoutError:
            raise self._late(seconds) from None
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _all(self, seconds: float) -> None:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            for name in self.addresses:
                tasks.create_task(self._one(name))

    async def _one(self, name: str) -> None:
        address = self.addresses[name]
        while not await _answers(address):
            if self.died(name):
                raise UserError(f"{name} died while it booted; its console ends with:{self.tail(name)}", "qhs up")
            await asyncio.sleep(_ASK_EVERY)
        took = self.answered[name] = time.monotonic() - self.started
        left = len(self.addresses.keys() - self.answered.keys())
        self.progress(f"{name} answers on {address} ({took:.1f} s; {left} to go)")

    def _late(self, seconds: float) -> UserError:
        late = [name for name in self.addresses if name not in self.answered]
        where = ", ".join(f"{name} ({self.addresses[name]})" for name in late)
        told = "".join(f"\n  console of {name} ends with:{self.tail(name)}" for name in late[:3])
        return UserError(f"no SSH within {seconds:.0f} s: {where}{told}", "qhs up tries again; qhs down starts over")


async def _answers(address: str) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(address, _SSH)
            try:
                return (await reader.readline()).startswith(b"SSH-")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
