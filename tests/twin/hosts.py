"""All machines of a twin at once: one connection each, in parallel, as the operator and as root there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import testinfra
from testinfra.host import Host

from qhs.twin import access, inside
from qhs.twin.names import Twin

AT_ONCE = 10


def await_(what: Callable[[], bool], seconds: float = 60) -> None:
    """Until it is so; too late, and the test fails."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, what
        time.sleep(0.5)


@dataclass(frozen=True)
class Hosts:
    """The machines of a twin that are to be asked."""

    twin: Twin
    names: tuple[str, ...]

    def ask[T](self, question: Callable[[Host], T], names: Iterable[str] = ()) -> dict[str, T]:
        """What each machine answers; a question that fails on one fails."""
        chosen = tuple(names) or self.names
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = pool.map(
                lambda name: inside.call(self.twin.netns_path(), lambda: question(self._of(name))), chosen
            )
            return dict(zip(chosen, answers, strict=True))

    def say(self, command: str, names: Iterable[str] = ()) -> dict[str, str]:
        """What a command prints on each machine; where it fails, the test does."""
        return self.ask(lambda host: str(host.check_output("sh -c %s", command)), names)

    def _of(self, name: str) -> Host:
        return testinfra.get_host(
            f"ssh://{name}", ssh_config=str(access.config(self.twin)), controlpersist=0, sudo=True
        )
