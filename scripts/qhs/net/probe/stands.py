"""Namespaces that stand in places for the time of a probe: held open by this process alone, so they end with it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from qhs.net.probe.vantage import Vantage
from qhs.twin import wires
from qhs.twin.names import Twin, port
from qhs.twin.topology import Client

WORKERS = 4
MARK = "probe"
GROUP = 7
"""Of their wires, which so are pulled in one step: one after the other they take seconds."""


@contextlib.contextmanager
def standing(twin: Twin, needed: Iterable[Vantage]) -> Iterator[dict[Vantage, Vantage]]:
    """Each of `needed` as one that is there while the block runs. Raises UserError."""
    absent = [(one, one.stand) for one in dict.fromkeys(needed) if one.stand]
    opened: list[int] = []
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            opened += pool.map(lambda _: _namespace(), absent)
            there = {one: _at(one, number) for (one, _), number in zip(absent, opened, strict=True)}
            wires.ip(twin, [line for one, client in absent for line in _wired(client, str(there[one].namespace))])
            list(pool.map(lambda it: there[it[0]].inside(lambda: _furnish(it[1])), absent))
        yield there
    finally:
        # Wires first: with its namespace each goes as well, but only some time later.
        if wires.links(twin, GROUP):
            wires.ip(twin, [f"link del group {GROUP}"])
        for number in opened:
            os.close(number)


def _wired(client: Client, namespace: str) -> list[str]:
    ends = [port(client.name, leg.interface) for leg in client.legs]
    return [*wires.plug(client, namespace, MARK), *(f"link set {end} group {GROUP}" for end in ends)]


def _at(one: Vantage, number: int) -> Vantage:
    return replace(one, namespace=Path(f"/proc/{os.getpid()}/fd/{number}"), stand=None)


def _namespace() -> int:
    """A new network namespace, as an open file: when it is closed, the namespace is gone."""
    found: list[int] = []

    def made() -> None:
        os.unshare(os.CLONE_NEWNET)
        subprocess.run(["sh", "-euc", wires.QUIET], check=True)
        found.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))

    thread = threading.Thread(target=made)  # a thread that has moved is of no use to anyone else
    thread.start()
    thread.join()
    return found[0]


def _furnish(client: Client) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(wires.furniture(client)), text=True, check=True)
